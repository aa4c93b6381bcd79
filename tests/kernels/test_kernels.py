"""Kernels against textbook loops and NumPy, and the switch between the twins."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import TypingError

import minigrad
from minigrad import functional as F
from minigrad import kernels
from minigrad.kernels._kernel import _folder_stamp
from minigrad.ops.activation import SMALL
from minigrad.ops.layout import LARGE, innermost
from minigrad.tensor import Tensor
from tests.kernels import references

GEOMETRIES = [
    {},
    {"stride": (2, 1)},
    {"padding": (1, 2)},
    {"dilation": (2, 1)},
    {"groups": 2},
    {"stride": (2, 3), "padding": (2, 1), "dilation": (1, 2), "groups": 2},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_conv2d_equals_seven_loops(geometry, rng):
    full = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1} | geometry
    x = rng.normal(size=(3, 4, 9, 8))
    w, b = rng.normal(size=(6, 4 // full["groups"], 3, 3)), rng.normal(size=6)
    np.testing.assert_allclose(F.conv2d(x, w, b, **full).data, references.conv2d(x, w, b, **full), atol=1e-12)


@pytest.mark.parametrize("filters", [6, 12])
@pytest.mark.parametrize("images", [1, 3, 8, 45])
def test_the_convolution_kernels_take_batches_of_any_size(images, filters, rng):
    """The op fills small batches up; the kernels do not need it. Half a tile of filters in a group, and a whole one."""
    x, w, b = rng.normal(size=(4, 7, 6, images)), rng.normal(size=(filters, 2, 3, 2)), rng.normal(size=filters)
    geometry = (2, 2, 1, 2, 2)  # stride, dilation, groups
    out = np.full((filters, 3, 2, images), np.nan)
    kernels.conv2d_forward(x, w, b, *geometry, out)
    expected = references.conv2d(np.moveaxis(x, -1, 0), w, b, (2, 2), (0, 0), (1, 2), 2)
    np.testing.assert_allclose(np.moveaxis(out, -1, 0), expected, atol=1e-12)

    # <conv(x, w), g> == <x, grad_x> == <w, grad_w>, as for any product.
    g, grad_x, grad_w = rng.normal(size=out.shape), np.full(x.shape, np.nan), np.full(w.shape, np.nan)
    kernels.conv2d_grad_input(g, w, *geometry, 0, 0, grad_x)
    kernels.conv2d_grad_weight(x, g, *geometry, grad_w)
    product = ((out - b[:, None, None, None]) * g).sum()
    np.testing.assert_allclose([(x * grad_x).sum(), (w * grad_w).sum()], product, rtol=1e-10)


def test_conv2d_does_not_flip_the_kernel():
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    w = np.zeros((1, 1, 2, 2))
    w[0, 0, 0, 1] = 1  # picks the neighbour to the right
    np.testing.assert_array_equal(F.conv2d(x, w).data[0, 0], x[0, 0, :2, 1:])


@pytest.mark.parametrize("images", [3, 9])  # fewer than a vector holds, and more
@pytest.mark.parametrize(("kernel_size", "stride"), [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((2, 3), (3, 1))])
def test_max_pool2d_equals_the_loops_and_sends_gradients_to_the_maxima(kernel_size, stride, images, rng):
    x = rng.integers(0, 4, (images, 2, 7, 8)).astype(float)  # many ties: the first one of a window counts
    out, places = references.max_pool2d(x, kernel_size, stride)
    tensor = Tensor(x, requires_grad=True)
    pooled = F.max_pool2d(tensor, kernel_size, stride)
    np.testing.assert_array_equal(pooled.data, out)

    g = rng.normal(size=out.shape)
    pooled.backward(g)
    expected = np.zeros_like(x)
    for n, c, oh, ow in np.ndindex(out.shape):
        expected[(n, c, *places[n, c, oh, ow])] += g[n, c, oh, ow]
    np.testing.assert_allclose(tensor.grad, expected, rtol=1e-12)


def test_nan_is_not_swallowed():
    x = np.zeros((1, 1, 2, 2))
    for place in ((0, 0), (0, 1), (1, 1)):
        bad = x.copy()
        bad[(0, 0, *place)] = np.nan
        assert np.isnan(F.max_pool2d(bad, 2).data).all()
    assert np.isnan(F.relu([np.nan]).data).all()
    assert np.isinf(F.relu([np.inf]).data).all()


@pytest.mark.parametrize("size", [4, SMALL + 4])
def test_relu_lets_nan_pass_and_stops_at_zero(size):
    """By NumPy where x is small, by the kernels where it is large."""
    x = Tensor(np.tile([np.nan, -1.0, 0.0, 2.0], size // 4), requires_grad=True)
    out = F.relu(x)
    out.backward(np.full(size, 3.0))
    np.testing.assert_array_equal(out.data, np.tile([np.nan, 0, 0, 2], size // 4))
    np.testing.assert_array_equal(x.grad, np.tile([3, 0, 0, 3], size // 4))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (7, 4, 9), (130, 70, 33)])
def test_products_equal_numpy(shape, rng):
    m, k, p = shape
    a, b = rng.normal(size=(m, k)), rng.normal(size=(k, p))
    for product, left, right in (
        (kernels.matmul_rows, a, b),
        (kernels.matmul_rows, a, np.asfortranarray(b)),
        (kernels.matmul_transposed, np.ascontiguousarray(a.T), b),
        (kernels.matmul_transposed, np.ascontiguousarray(a.T), np.asfortranarray(b)),
    ):
        out = np.full((m, p), np.nan)
        product(left, right, out)
        np.testing.assert_allclose(out, a @ b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 2, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_products_of_any_dtype_and_of_nothing(shape, dtype, capfd):
    """BLAS prints a line of its own if it is told of rows that are no number apart."""
    m, k, p = shape
    for product, a in ((kernels.matmul_rows, (m, k)), (kernels.matmul_transposed, (k, m))):
        out = np.full((m, p), np.nan, dtype)
        product(np.ones(a, dtype), np.ones((k, p), dtype), out)
        np.testing.assert_array_equal(out, np.zeros((m, p)))
        out = np.full((2, 2), np.nan, dtype)
        product(np.array([[1, 2], [3, 4]], dtype), np.array([[1, 1], [0, 2]], dtype), out)
        np.testing.assert_array_equal(out, [[1, 5], [3, 11]] if product is kernels.matmul_rows else [[1, 7], [2, 10]])
    assert capfd.readouterr().out == ""


def test_a_product_of_what_blas_cannot_take_says_so():
    with pytest.raises(TypingError, match="product_rows: expected contiguous arrays of one dtype that BLAS knows"):
        kernels.matmul_rows(np.ones((2, 2), np.int64), np.ones((2, 2), np.int64), np.ones((2, 2), np.int64))


@pytest.mark.skipif(kernels.threads.MOST_THREADS < 2, reason="needs two threads")
def test_bits_do_not_depend_on_the_number_of_threads(rng):
    x = rng.normal(size=(37, 3, 12, 12)).astype(np.float32)
    results = []
    for threads in (1, 2):
        minigrad.manual_seed(1)
        net = minigrad.nn.Sequential(
            minigrad.nn.Conv2d(3, 5, 3), minigrad.nn.ReLU(), minigrad.nn.MaxPool2d(2),
            minigrad.nn.Flatten(), minigrad.nn.Linear(125, 101), minigrad.nn.Linear(101, 10),
        )  # fmt: skip
        before = kernels.get_num_threads()
        kernels.set_num_threads(threads)
        try:
            loss = F.cross_entropy(net(x), np.arange(37) % 10)
            loss.backward()
        finally:
            kernels.set_num_threads(before)
        results.append([loss.data, *(p.grad for p in net.parameters())])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_switch_reaches_whole_functions_and_ends_with_its_block(rng, monkeypatch):
    calls = []
    python = kernels.conv2d_forward.python
    monkeypatch.setattr(kernels.conv2d_forward, "python", lambda *a: (calls.append("python"), python(*a)))
    x, w = rng.normal(size=(1, 1, 4, 4)), rng.normal(size=(1, 1, 3, 3))
    compiled = F.conv2d(x, w).data
    assert calls == []
    with kernels.use("python"):
        assert "python" in repr(kernels.conv2d_forward)
        stepped = F.conv2d(x, w).data
        with kernels.use("compiled"):
            F.conv2d(x, w)
    assert calls == ["python"]
    assert kernels.current_mode() == "compiled"
    np.testing.assert_allclose(compiled, stepped, rtol=1e-12)


def test_the_switch_is_undone_by_an_error():
    with pytest.raises(RuntimeError, match="stop"), kernels.use("python"):
        raise RuntimeError("stop")
    assert kernels.current_mode() == "compiled"


def test_wrong_mode_and_wrong_thread_count_say_what_is_expected():
    with (
        pytest.raises(ValueError, match=r"mode is 'fast', expected one of \('compiled', 'python'\)"),
        kernels.use("fast"),
    ):
        pass
    for count in (0, kernels.threads.MOST_THREADS + 1):
        with pytest.raises(ValueError, match=f"count is {count}, expected 1 to"):
            kernels.set_num_threads(count)


def test_scipys_blas_has_one_thread_and_others_are_left_alone():
    from threadpoolctl import ThreadpoolController

    kernels.threads.start()
    libraries = [lib for lib in ThreadpoolController().info() if lib["user_api"] == "blas"]
    threads_of = {Path(lib["filepath"]).parent.name: lib["num_threads"] for lib in libraries}
    if "scipy.libs" not in threads_of or "numpy.libs" not in threads_of:
        pytest.skip(f"NumPy and SciPy have no copies of their own here: {threads_of}")
    assert threads_of["scipy.libs"] == 1
    assert threads_of["numpy.libs"] == int(os.environ.get("OPENBLAS_NUM_THREADS") or os.cpu_count() or 1)


def in_a_process(script):
    """Run a script in a fresh process, where threads have not started."""
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_works_before_the_first_kernel_and_is_refused_with_a_sentence_after_it():
    result = in_a_process("""
        import os, sys, warnings
        import numpy as np
        from minigrad import functional as F
        warnings.simplefilter("ignore")

        def child():
            if pid := os.fork():
                return os.waitpid(pid, 0)[1]
            try:
                print(F.relu(np.ones(20_000)).data.sum(), flush=True)
            except RuntimeError as error:
                print(error, flush=True)
            os._exit(0)

        assert child() == 0
        F.relu(np.ones(20_000))
        assert child() == 0
    """)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first == "20000.0"
    assert "forked after kernels had run in its parent" in second


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_python_threads_may_start_kernels_at_once(layer):
    result = in_a_process(f"""
        import os
        os.environ["NUMBA_THREADING_LAYER"] = {layer!r}
        from threading import Thread
        import numpy as np
        from minigrad import functional as F

        x, w = np.ones((8, 2, 12, 12), np.float32), np.ones((4, 2, 3, 3), np.float32)
        F.conv2d(x, w)
        sums = []

        def work():
            for _ in range(200):
                sums.append(float(F.conv2d(x, w).data.sum()))

        threads = [Thread(target=work) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        print(len(sums), set(sums) == {{8 * 4 * 100 * 18.0}})
    """)
    assert result.stdout.split() == ["800", "True"], result.stderr


def test_importing_leaves_the_environment_as_it_was():
    result = in_a_process("""
        import os
        before = dict(os.environ)
        import numpy as np
        from minigrad import functional as F, kernels
        assert not kernels.threads.is_started()
        F.relu(np.ones(20_000))
        assert kernels.threads.is_started()
        print(dict(os.environ) == before)
    """)
    assert result.stdout.strip() == "True", result.stderr


def test_products_are_cut_into_blocks():
    """A large product in one block would run on one thread, whatever their number; in a small one blocks cost too much."""
    from minigrad.kernels import matmul

    for rows, count in ((10, 1), (31, 1), (32, 2), (1023, 2), (1025, 4)):
        blocks = [matmul._block(rows, i) for i in range(matmul._blocks(rows))]
        assert len(blocks) == count
        assert [start for start, _ in blocks] == [0, *(stop for _, stop in blocks[:-1])]
        assert blocks[-1][1] == rows


def test_plain_matrix_products_go_through_the_blocks(monkeypatch, rng):
    """NumPy's own product would let BLAS choose the cut, and with it the last bits, by the number of threads."""
    calls, product = [], kernels.matmul_rows
    monkeypatch.setattr(kernels, "matmul_rows", lambda *a: (calls.append(a[0].shape), product(*a)))
    x = Tensor(rng.normal(size=(3, 4)), requires_grad=True)
    (x @ rng.normal(size=(4, 2))).sum().backward()
    assert calls == [(3, 4), (3, 2)]


@pytest.mark.parametrize("shape", [(64, 1100), (70, 3, 19, 17), (1, 70_000), (17, 4000), (70_000, 1)])
def test_large_batches_are_laid_out_by_the_kernel(shape, rng):
    x = rng.normal(size=shape)
    out = innermost(x)
    assert x.size >= LARGE
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, np.moveaxis(x, 0, -1))
    np.testing.assert_array_equal(innermost(x[::-1]), np.moveaxis(x[::-1], 0, -1))


def test_the_cache_notices_a_change_in_any_file_of_the_folder():
    """Numba watches a kernel's own file only, and kernels, also those of other packages, use helpers of this folder."""
    assert {"conv.py", "tiles.py", "vector.py"} <= {name for name, _, _ in _folder_stamp()}
    for kernel in kernels.TABLE.values():
        stamp = _folder_stamp(Path(kernel.python.__code__.co_filename).parent)
        assert kernel.compiled._cache._cache_file._source_stamp == stamp
        assert set(_folder_stamp()) <= set(stamp)


@pytest.mark.parametrize("count", [*range(1, 15), 24, 25, 31])
def test_tiles_cover_any_number_of_filters_and_channels(count, rng):
    """64 float64 fill whole tiles, 45 leave a rest. With one kernel place a convolution is a product of matrices.

    From the fifth tile on, at 25 filters, what all tiles read is copied first.
    """
    for images in (64, 45):
        x, w, b = rng.normal(size=(2, 2, 4, images)), rng.normal(size=(count, 2, 1, 1)), rng.normal(size=count)
        expected = np.einsum("chwn,fc->fhwn", x, w[..., 0, 0]) + b[:, None, None, None]
        out, pooled = np.full(expected.shape, np.nan), np.full((count, 1, 2, images), np.nan)
        kernels.conv2d_forward(x, w, b, 1, 1, 1, 1, 1, out)
        kernels.conv2d_relu_max_pool2d(x, w, b, 1, 1, 1, 1, 1, 2, 2, 2, 2, pooled)
        np.testing.assert_allclose(out, expected, atol=1e-12)
        largest = expected.reshape(count, 2, 2, 2, images).max(axis=(1, 3))
        np.testing.assert_allclose(pooled[:, 0], np.maximum(largest, 0), atol=1e-12)

        grad_x, grad_w = np.full(expected.shape, np.nan), np.full(w.shape, np.nan)
        kernels.conv2d_grad_input(x, w.swapaxes(0, 1).copy(), 1, 1, 1, 1, 1, 0, 0, grad_x)
        kernels.conv2d_grad_weight(x, expected, 1, 1, 1, 1, 1, grad_w)
        np.testing.assert_allclose(grad_x, expected - b[:, None, None, None], atol=1e-12)
        np.testing.assert_allclose(grad_w[..., 0, 0], np.einsum("chwn,fhwn->fc", x, expected), rtol=1e-10)
