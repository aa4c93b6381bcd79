"""Figures of a profile that do not depend on the clock, and the table that it prints."""

import threading

import numpy as np
import pytest

from minigrad import Tensor, no_grad, profile
from minigrad import functional as F
from minigrad.compression.models import LeNet
from minigrad.debug import Peak, Profile, profiler
from minigrad.debug.profiler import Row
from minigrad.tape import observers


def leaf(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


def test_calls_operations_and_bytes_of_a_product():
    x, y = leaf(2, 3), leaf(3, 4)
    with profile(show=False) as p:
        (x @ y).backward(np.ones((2, 4)))
    row = p.rows["matmul"]
    assert (row.calls, row.forward_flops) == (1, 2 * 2 * 4 * 3)
    assert row.backward_flops == 2 * row.forward_flops  # one product for each gradient
    assert row.forward_bytes == 4 * (6 + 12 + 8)
    assert row.backward_bytes == 4 * (8 + 12 + 6) + 4 * (8 + 6 + 12)  # g and y give x's gradient; g and x give y's
    assert row.forward_seconds > 0 < row.backward_seconds
    assert row.seconds == row.forward_seconds + row.backward_seconds <= p.seconds


def test_a_bias_costs_its_additions_and_images_get_no_gradient():
    model, n = LeNet(), 3
    images = np.zeros((n, 1, 28, 28), np.float32)
    with profile(show=False) as p:
        F.cross_entropy(model(images), np.array([1, 2, 3])).backward()
    first, second = 2 * 86_400 * n, 2 * 153_600 * n
    biases = n * (6 * 24 * 24 + 16 * 8 * 8)
    assert p.rows["conv2d"].calls == 2
    assert p.rows["conv2d"].forward_flops == first + second
    assert p.rows["conv2d"].backward_flops == first + 2 * second + biases
    assert p.rows["linear"].forward_flops == 2 * n * (256 * 120 + 120 * 84 + 84 * 10)


def test_views_move_nothing():
    x = leaf(2, 3)
    with profile(show=False) as p:
        x.reshape(6).backward(np.ones(6))
        x.transpose()
    assert (p.rows["reshape"].calls, p.rows["transpose"].calls) == (1, 1)
    assert p.rows["reshape"].bytes == p.rows["transpose"].bytes == 0


def test_backward_of_what_was_computed_outside_has_a_time_but_no_operations():
    out = (leaf(5) * 2).sum()
    with profile(show=False) as p:
        out.backward()
    row = p.rows["multiply"]
    assert (row.calls, row.forward_seconds, row.flops) == (0, 0, 0)
    assert row.backward_seconds > 0


def test_nothing_is_recorded_outside_and_the_switch_is_off_again():
    with pytest.raises(ValueError, match="needs the argument"), profile(show=False) as p:
        (leaf(2) * 2).backward()
    leaf(2) * 2
    assert p.rows["multiply"].calls == 1
    assert observers.get() == ()


def test_blocks_nest():
    with profile(show=False) as outer:
        leaf(2) * 2
        with profile(show=False) as inner:
            leaf(2) * 2
    assert (outer.rows["multiply"].calls, inner.rows["multiply"].calls) == (2, 1)


def test_ops_of_another_thread_are_not_seen():
    with profile(show=False) as p:
        thread = threading.Thread(target=lambda: leaf(2) * 2)
        thread.start()
        thread.join()
        leaf(2) + 2
    assert list(p.rows) == ["add"]


def test_no_grad_is_measured_too():
    with profile(show=False) as p, no_grad():
        leaf(4).exp()
    assert p.rows["exp"].forward_flops == 4


def test_the_table(monkeypatch):
    monkeypatch.setattr(profiler, "machine_peak", lambda: Peak(flops=10e9, bytes=1e9))
    p = Profile()
    p.rows["exp"] = Row(3, 0.001, 0.0, 1_000_000, 0, 100_000, 0)
    p.rows["conv2d"] = Row(2, 0.002, 0.003, 10_000_000, 20_000_000, 1_000_000, 2_000_000)
    p.seconds = 0.0085
    lines = str(p).splitlines()
    assert lines[0].split() == ["calls", "forward", "ms", "backward", "ms", "MFLOP", "MB", "GFLOP/s", "of", "peak"]
    # 30 MFLOP need 3 ms at 10 GFLOP/s, 3 MB need 3 ms at 1 GB/s: of 5 ms that is 60 %.
    assert lines[1].split() == ["conv2d", "2", "2.000", "3.000", "30.000", "3.000", "6.000", "60%"]
    # 1 MFLOP and 0.1 MB both need 0.1 ms: of 1 ms that is 10 %.
    assert lines[2].split() == ["exp", "3", "1.000", "0.000", "1.000", "0.100", "1.000", "10%"]
    assert lines[3].split()[:4] == ["total", "5", "3.000", "3.000"]
    assert lines[4] == "The block took 8.500 ms, its ops 6.000 ms."
    assert lines[5] == "Peak of this machine: 10 GFLOP/s (float32 matrix product), 1 GB/s (copy in memory)."


def test_memory_sets_the_share_where_it_takes_longer(monkeypatch):
    monkeypatch.setattr(profiler, "machine_peak", lambda: Peak(flops=10e9, bytes=1e9))
    p = Profile()
    p.rows["add"] = Row(1, 0.004, 0.0, 1_000_000, 0, 2_000_000, 0)  # 0.1 ms of arithmetic, 2 ms of memory
    assert str(p).splitlines()[1].split()[-1] == "50%"
    assert str(Profile()).splitlines()[1].split()[:2] == ["total", "0"]


def test_the_peak_is_measured_once():
    peak = profiler.machine_peak()
    assert peak.flops > 0 < peak.bytes
    assert profiler.machine_peak() is peak


def test_the_table_is_printed_at_the_end_of_the_block(capsys):
    with profile() as p:
        leaf(2, 3).exp()
    assert capsys.readouterr().out == f"{p}\n"
