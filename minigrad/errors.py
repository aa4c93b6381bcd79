"""Errors about files and runs: each message is one sentence that names the file and what was expected."""


class DatasetError(ValueError):
    """A data file is missing, damaged, or not what it should be."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, foreign, or belongs to another architecture."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is NaN or infinite."""
