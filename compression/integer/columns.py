"""Columns of a program, the table that tells a kernel what the layers are: a row for each step, read as `row[col.HEIGHT]`."""

# What a step does, ...
KIND, CHANNELS, HEIGHT, WIDTH = 0, 1, 2, 3  # ... its input,
OUT_CHANNELS, OUT_HEIGHT, OUT_WIDTH = 4, 5, 6  # ... its output (of a weighted step: before pooling),
STRIDE_H, STRIDE_W = 7, 8  # ... the step of its windows,
POOL_H, POOL_W, POOL_STRIDE_H, POOL_STRIDE_W, POOLED_H, POOLED_W = 9, 10, 11, 12, 13, 14  # ... pooling,
PAD_H, PAD_W, PAD_VALUE = 15, 16, 17  # ... the border,
ZERO, CLAMP_LOW, CLAMP_HIGH = 18, 19, 20  # ... how its output is shifted and clamped,
FIRST_CHANNEL = 21  # ... where its output channels begin in the tables that have a row for each,
FIRST_ROW = 22  # ... and where its weights begin (in the plain kernel's tables: those of a linear layer).
COLUMNS = 23

CONV, LINEAR, MAX_POOL, AVG_POOL, PAD = 0, 1, 2, 3, 4
"""Kinds of steps. A linear layer's features are images of 1x1."""

# Kernels that multiply words of four bytes also read how many words a sum has, where their places begin, and where the
# corners of the windows begin that are pooled.
TERMS, FIRST_PLACE, FIRST_CORNER = COLUMNS, COLUMNS + 1, COLUMNS + 2
WORD_COLUMNS = COLUMNS + 3

# The packed kernel: how many channels a last plane has that is spread, or 0; and how many columns its bytes are apart.
SPREAD, APART = WORD_COLUMNS, WORD_COLUMNS + 1
PACKED_COLUMNS = WORD_COLUMNS + 2
