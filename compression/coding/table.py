"""What a .mgz file says about itself: Deep Compression's table, where every byte is, and what an image costs in energy."""

import math
from typing import NamedTuple

from ..report import align
from .mgz import PARTS, Container

MULTIPLY, ADD, SRAM, DRAM = 3.7, 0.9, 5.0, 640.0
"""Picojoules of a float32 multiplication, a float32 addition, and of 32 bits from on-chip and from main memory, at 45 nm.

Source: Horowitz, "Computing's energy problem (and what we can do about it)", 2014, as Han et al., "Learning both weights and
connections for efficient neural networks", 2015, table 1, cite it.
"""


class LayerRow(NamedTuple):
    """A row of Deep Compression's table.

    Attributes:
        layer: its name.
        weights, kept: how many there are, and those that are not zero.
        weight_bits, coded_weight_bits: of a value that is stored, before and after Huffman coding, on average.
        index_bits, coded_index_bits: of an index; where there is a mask, its bits by the values stored.
        plain_bytes: values and indices of one width each, and the codebook.
        bytes: as stored: values, indices, Huffman tables, codebook.
    """

    layer: str
    weights: int
    kept: int
    weight_bits: float
    coded_weight_bits: float
    index_bits: float
    coded_index_bits: float
    plain_bytes: int
    bytes: int


def layer_rows(container: Container) -> list[LayerRow]:
    """Return a row for each layer with weights."""
    rows = []
    for name, _, w, _ in container.layers:
        if w is None:
            continue
        entries = max(w.entries, 1)
        index = w.index_bits * w.entries if w.way == "codebook" else w.coded_index_bits
        plain = -(-w.weight_bits * w.entries // 8) - (-index // 8) + w.other_bytes
        stored = sum(
            container.account[name, part] for part in PARTS if part not in ("header", "metadata", "biases", "CRC")
        )
        rows.append(LayerRow(
            name, w.size, w.positions.size, w.weight_bits, w.coded_weight_bits / entries, index / entries,
            w.coded_index_bits / entries, plain, stored,
        ))  # fmt: skip
    return rows


def layer_table(container: Container) -> str:
    """Lay out Deep Compression's table (its tables 2 and 3) as text; rates are shares of the weights' bytes as float32.

    "(H)" is with Huffman coding. Fillers count as values that are stored, and the codebook counts.

    Example:
        >>> import tempfile
        >>> from minigrad.compression.coding import Storage, save_mgz
        >>> from minigrad.compression.models import trained_lenet
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     container = save_mgz(f"{folder}/lenet.mgz", trained_lenet(), Storage(bits=4), huffman=False)
        >>> print(layer_table(container).splitlines()[-1])
        all     44,190   100.0                                                             12.68       12.68
    """
    head = ["layer", "weights", "kept %", "weight bits", "weight bits (H)", "index bits", "index bits (H)", "rate %"]
    table, rows = [[*head, "rate % (H)"]], layer_rows(container)
    for row in rows:
        bits = (row.weight_bits, row.coded_weight_bits, row.index_bits, row.coded_index_bits)
        cells = [row.layer, f"{row.weights:,}", f"{100 * row.kept / row.weights:.1f}", *(f"{b:.3g}" for b in bits)]
        table.append([*cells, *(f"{25 * size / row.weights:.2f}" for size in (row.plain_bytes, row.bytes))])
    if rows:
        count, kept = sum(row.weights for row in rows), sum(row.kept for row in rows)
        plain, stored = sum(row.plain_bytes for row in rows), sum(row.bytes for row in rows)
        cells = ["all", f"{count:,}", f"{100 * kept / count:.1f}", "", "", "", ""]
        table.append([*cells, f"{25 * plain / count:.2f}", f"{25 * stored / count:.2f}"])
    return align(table)


def account_table(container: Container) -> str:
    """Lay out where every byte is as text: a row for each layer, one for the file itself, and the sums."""
    account = container.account
    parts = [part for part in PARTS if any(n for (_, p), n in account.items() if p == part)]
    table = [["bytes", *parts, "all"]]
    for name in [*(layer.name for layer in container.layers if layer.name), ""]:
        row = [account[name, part] for part in parts]
        table.append([name or "(the file)", *(f"{n:,}" for n in row), f"{sum(row):,}"])
    sums = [sum(n for (_, p), n in account.items() if p == part) for part in parts]
    return align([*table, ["all", *(f"{n:,}" for n in sums), f"{sum(sums):,}"]])


class Energy(NamedTuple):
    """Nanojoules for one image."""

    case: str
    arithmetic: float
    weights: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.arithmetic + self.weights + self.activations


def energy(container: Container) -> list[Energy]:
    """Estimate what an image costs: all weights as float32 from main memory; as stored, from there; as stored, on chip.

    Each weight that is kept is multiplied and added where it is used; each layer's weights and biases are fetched once; its
    inputs are read from on-chip memory and its outputs written there, 32 bits each. What decoding costs is left out, and so
    is everything else that a processor does: orders of magnitude, not a measurement.

    Returns:
        Three rows, in this order.
    """
    dense = kept = words = activations = 0
    for _, about, w, bias in container.layers:
        if w is None:
            continue
        dense, kept = dense + w.size * about.uses, kept + w.positions.size * about.uses
        words += w.size + (0 if bias is None else bias.size)
        activations += math.prod(about.input_shape) + math.prod(about.output_shape)
    stored = sum(n for (name, _), n in container.account.items() if name) / 4
    both, moved = MULTIPLY + ADD, SRAM * activations / 1000
    return [
        Energy("all weights, float32, main memory", dense * both / 1000, words * DRAM / 1000, moved),
        Energy("as stored, main memory", kept * both / 1000, stored * DRAM / 1000, moved),
        Energy("as stored, on chip", kept * both / 1000, stored * SRAM / 1000, moved),
    ]


def energy_table(container: Container) -> str:
    """Lay the estimate out as text."""
    table = [["nJ an image, estimated", "arithmetic", "weights", "activations", "all"]]
    for row in energy(container):
        table.append([row.case, *(f"{n:,.0f}" for n in (row.arithmetic, row.weights, row.activations, row.total))])
    return align(table)
