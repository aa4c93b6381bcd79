"""No float between pixel and logits: in the kernels' LLVM IR, and among the arrays that go into them."""

import numba
import numpy as np
import pytest

from minigrad.compression.integer import engine, few, kernels, packed, proof, vnni
from minigrad.compression.integer.arithmetic import high_mul
from tests.compression.integer.integer_cases import random_images, small_lenet

MODEL = small_lenet()


def plain_arguments():
    *tables, room = MODEL._plan.program
    return (random_images(0, 2).reshape(2, -1), *tables, 2, room, False, np.empty((2, 10), np.int32))


def test_the_plain_kernel_has_no_float():
    found = proof.scan_kernel(kernels.run_program.python, *plain_arguments())
    assert found.findings == []
    assert found.instructions > 1000
    names = " ".join(found.functions)
    assert "run_program" in names
    assert "parfor_gufunc" in names  # the loop over blocks, where the work is done
    assert "requantize" in names
    assert not any(name.startswith(("_ZN7cpython", "cfunc")) for name in found.functions)


@pytest.mark.skipif(not vnni.AVAILABLE, reason="this CPU has no AVX512-VNNI")
def test_the_packed_kernel_has_no_float():
    arguments = (random_images(0, 2).reshape(2, -1), *MODEL._plan.packed, False, np.empty((2, 10), np.int32))
    found = proof.scan_kernel(packed.run_packed.python, *arguments)
    assert found.findings == []
    assert found.instructions > 300


@pytest.mark.skipif(not vnni.AVAILABLE, reason="this CPU has no AVX512-VNNI")
def test_the_kernel_for_a_few_images_has_no_float():
    arguments = (random_images(0, 2).reshape(2, -1), MODEL._plan.few, False, np.empty((2, 10), np.int32))
    found = proof.scan_kernel(few.run_few.python, *arguments)
    assert found.findings == []
    assert found.instructions > 300


def rounds_with_a_float(acc, multiplier, out):
    """A mutant of requantization."""
    for i in numba.prange(acc.size):
        out[i] = np.int32(np.float32(acc[i]) * np.float32(multiplier) * np.float32(2.0**-31))


def rounds_with_integers(acc, multiplier, out):
    for i in numba.prange(acc.size):
        out[i] = high_mul(np.int64(acc[i]), np.int64(multiplier))


def test_a_float_that_is_put_in_is_found():
    arguments = (np.zeros(5, np.int32), 2**30, np.zeros(5, np.int32))
    assert proof.scan_kernel(rounds_with_integers, *arguments).findings == []
    found = proof.scan_kernel(rounds_with_a_float, *arguments).findings
    text = " ".join(finding.line for finding in found)
    assert {"sitofp", "fmul", "fptosi"} <= set(text.replace("=", " ").split())


@pytest.mark.parametrize(
    "line",
    [
        "%3 = fadd fast float %1, %2",
        "%3 = load double, ptr %1",
        "%3 = call <8 x float> @llvm.fma.v8f32(<8 x float> %0, <8 x float> %1, <8 x float> %2)",
        "%3 = sitofp i32 %1 to half",
        "store bfloat %1, ptr %2",
        "%3 = fcmp olt x86_fp80 %1, %2",
        "%3 = call i32 @llvm.fptosi.sat.i32.f64(double %1)",
    ],
)
def test_each_kind_of_float_is_found(line):
    assert len(proof.scan_ir(f"define i32 @f(ptr %x) {{\nentry:\n  {line}\n  ret i32 0\n}}\n").findings) == 1


@pytest.mark.parametrize(
    "line",
    [
        "%double = add i32 %float.1, 1",
        "call void @float_free(i32 1) ; double",
        '%x = add i32 1, 2, !dbg !{"float"}',
        "%4 = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %1, <64 x i8> %2, <64 x i8> %3)",
        "%4 = call i32 @llvm.smax.i32(i32 %1, i32 %2)",
    ],
)
def test_names_and_comments_are_no_floats(line):
    assert proof.scan_ir(f"define i32 @f(ptr %x) {{\nentry:\n  {line}\n  ret i32 0\n}}\n").findings == []


def test_an_empty_search_is_no_proof():
    with pytest.raises(ValueError, match="there is no native function in this LLVM IR"):
        proof.scan_ir("define ptr @cfunc.x() {\n  ret ptr null\n}\n")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, np.zeros((2, 784), np.float32), "an array of float32"),
        (2, np.zeros((3, 4)), "an array of float64"),
        (8, 0.5, "a float"),
        (8, np.float32(0.5), "a float32"),
        (-1, np.zeros((2, 10), np.float16), "an array of float16"),
    ],
)
def test_no_float_gets_into_a_kernel(place, value, said):
    arguments = list(plain_arguments())
    arguments[place] = value
    with pytest.raises(
        TypeError, match=rf"integer inference: run_program was given {said}, where only integers may go"
    ):
        engine.call(kernels.run_program, *arguments)


def test_all_that_goes_into_the_kernels_passes_the_guard(monkeypatch):
    """Every call from `logits` to a kernel goes through `engine.call`."""
    seen = []

    def watched(kernel, *arguments):
        seen.append(kernel.__name__)
        assert not any(isinstance(a, np.ndarray) and a.dtype.kind not in "iu" for a in arguments)
        call(kernel, *arguments)

    call = engine.call
    monkeypatch.setattr(engine, "call", watched)
    MODEL.logits(random_images(0, 3))
    MODEL.logits(random_images(0, 30))
    with engine.plain_kernel():
        MODEL.accumulators(random_images(0, 3))
    with_vnni = ["run_few", "run_packed"] if vnni.AVAILABLE else ["run_program", "run_program"]
    assert seen == [*with_vnni, "run_program"]
