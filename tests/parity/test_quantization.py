"""Quantization beside PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minigrad import functional as F
from minigrad.compression.quantization import BFLOAT16, FLOAT16
from minigrad.tensor import Tensor

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make parity` installs it")

BITS = arrays(np.uint32, 30, elements=st.integers(0, 2**32 - 1))
NUMBERS = arrays(np.float32, (3, 8), elements=st.floats(-20, 20, width=32))


@given(BITS)
def test_floats_of_16_bits_are_torchs(bits):
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    for form, dtype in ((FLOAT16, torch.float16), (BFLOAT16, torch.bfloat16)):
        expected = torch.from_numpy(x.copy()).to(dtype).view(torch.int16).numpy().view(np.uint16)
        np.testing.assert_array_equal(form.encode(x), expected)


@given(NUMBERS, st.sampled_from([0, 2, 4]))
def test_learned_steps_and_their_gradients_are_torchs(x, zero):
    """PyTorch multiplies by the step's inverse, adds the zero point before it rounds, and cuts half of a negative one off in
    gradients: so steps are powers of two here, and zero points even and not negative."""
    for scale in (np.array([0.25], np.float32), np.array([0.5, 1, 2], np.float32)):
        ours, step = Tensor(x, requires_grad=True), Tensor(scale[:, None], requires_grad=True)
        out = F.fake_quantize(ours, step, zero, -8, 7)
        out.sum().backward()
        theirs = torch.tensor(x, requires_grad=True)
        their_step, zeros = torch.tensor(scale, requires_grad=True), torch.full((len(scale),), float(zero))
        if len(scale) == 1:
            their_out = torch._fake_quantize_learnable_per_tensor_affine(theirs, their_step, zeros, -8, 7, 1.0)
        else:
            their_out = torch._fake_quantize_learnable_per_channel_affine(theirs, their_step, zeros, 0, -8, 7, 1.0)
        their_out.sum().backward()
        np.testing.assert_array_equal(out.data, their_out.detach().numpy())
        np.testing.assert_array_equal(ours.grad, theirs.grad.numpy())
        np.testing.assert_allclose(step.grad[:, 0], their_step.grad.numpy(), rtol=1e-4, atol=1e-3)
