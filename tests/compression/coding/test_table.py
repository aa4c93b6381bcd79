"""What `minigrad inspect` prints: figures of Deep Compression's table, sums, energy by hand."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.coding import Storage, account_table, energy, energy_table, layer_rows, layer_table, save_mgz
from tests.compression.coding.coding_cases import INPUT, STORAGES, small_model


@pytest.fixture
def linear(tmp_path, rng):
    """784 inputs, 100 outputs; a tenth of the weights is kept."""
    model = nn.Sequential(nn.Linear(784, 100))
    model[0].weight.data[rng.random((100, 784)) < 0.9] = 0
    return model, tmp_path / "model.mgz"


def test_a_row_says_what_the_paper_says(linear):
    model, path = linear
    container = save_mgz(path, model, Storage("codebook", 6, 5), input_shape=(784,))
    (row,), kept = layer_rows(container), np.count_nonzero(model[0].weight.data)
    assert (row.layer, row.weights, row.kept, row.weight_bits, row.index_bits) == ("0", 78_400, kept, 6, 5)
    weight = container.layers[0].weight
    assert weight is not None
    codes = [*np.unique(weight.values, return_counts=True)[1].tolist(), weight.entries - kept]
    p = np.array(codes) / weight.entries
    assert 0 <= row.coded_weight_bits + (p * np.log2(p)).sum() < 0.1  # hardly more than the entropy
    assert row.coded_index_bits < 5
    account = container.account
    book = account["0", "codebook"]
    assert row.plain_bytes == -(-6 * weight.entries // 8) + -(-5 * weight.entries // 8) + book
    assert row.bytes == container.size - sum(
        n for (_, part), n in account.items() if part in ("header", "biases", "CRC")
    )
    said = layer_table(container).splitlines()
    assert said[2].split() == [
        "0", "78,400", f"{100 * kept / 78_400:.1f}", "6", f"{row.coded_weight_bits:.3g}", "5",
        f"{row.coded_index_bits:.3g}", f"{100 * row.plain_bytes / (4 * 78_400):.2f}",
        f"{100 * row.bytes / (4 * 78_400):.2f}",
    ]  # fmt: skip
    assert said[3].split()[-2:] == said[2].split()[-2:]


def test_without_huffman_both_columns_are_the_same(linear):
    model, path = linear
    container = save_mgz(path, model, Storage("codebook", 6, 5), input_shape=(784,), huffman=False)
    (row,) = layer_rows(container)
    assert (row.coded_weight_bits, row.coded_index_bits) == (row.weight_bits, row.index_bits) == (6, 5)
    assert row.plain_bytes == row.bytes


def test_integers_count_a_bit_a_weight_as_index(linear):
    model, path = linear
    container = save_mgz(path, model, Storage("integer", 4), input_shape=(784,))
    (row,) = layer_rows(container)
    weight = container.layers[0].weight
    assert weight is not None
    assert row.weight_bits == row.coded_weight_bits == 4
    assert row.index_bits == row.coded_index_bits == pytest.approx(78_400 / weight.entries)
    assert row.bytes == row.plain_bytes == -(-4 * weight.entries // 8) + 9_800 + 400


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_and_columns_of_the_account_add_up_to_the_file(storage, tmp_path):
    container = save_mgz(tmp_path / "x", small_model(), storage, input_shape=INPUT)
    head, _, *rows = (
        line.replace("(the file)", "file").replace("Huffman tables", "tables").split()
        for line in account_table(container).splitlines()
    )
    numbers = np.array([[int(cell.replace(",", "")) for cell in row[1:]] for row in rows])
    assert numbers.shape == (6, len(head) - 1)
    np.testing.assert_array_equal(numbers[:-1].sum(axis=0), numbers[-1])
    np.testing.assert_array_equal(numbers[:, :-1].sum(axis=1), numbers[:, -1])
    assert numbers[-1, -1] == (tmp_path / "x").stat().st_size


def test_energy_is_what_one_gets_by_hand(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3, bias=False))
    model[0].weight.data[1] = 0  # 9 of 18 weights are kept, each used four times
    container = save_mgz(tmp_path / "x", model, Storage("float"), input_shape=(1, 4, 4))
    dense, stored, chip = energy(container)
    moved = (16 + 8 + 8 + 3) * 5 / 1000
    assert dense[1:] == pytest.approx(((18 * 4 + 24) * 4.6 / 1000, (18 + 2 + 24) * 640 / 1000, moved))
    own = sum(n for (name, _), n in container.account.items() if name in ("0", "3"))
    assert stored[1:] == pytest.approx(((9 * 4 + 24) * 4.6 / 1000, own / 4 * 640 / 1000, moved))
    assert chip[1:] == pytest.approx(((9 * 4 + 24) * 4.6 / 1000, own / 4 * 5 / 1000, moved))
    assert dense.total == pytest.approx(sum(dense[1:]))
    said = energy_table(container).splitlines()
    assert said[2].split()[-1] == f"{dense.total:.0f}"
    assert said[3].startswith("as stored, main memory")


def test_a_model_without_weights_has_an_empty_table(tmp_path):
    container = save_mgz(tmp_path / "x", nn.Sequential(nn.ReLU()), input_shape=(4,))
    assert layer_rows(container) == []
    assert len(layer_table(container).splitlines()) == 2
    assert sum(container.account.values()) == container.size
