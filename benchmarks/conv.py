"""Time conv2d forward and backward (3×3, padding 1, 32 → 64 channels, 32×32 images, batch 64) here and in PyTorch eager.

All three gradients are asked for. Each side gets its arrays as a layer of its own network would: ours batch-innermost,
PyTorch's channel by channel.
"""

from argparse import Namespace

from common import check_same, main, make_parser, take_turns, use_threads


def measure(options: Namespace) -> dict:
    import numpy as np
    import torch

    from minigrad import Tensor
    from minigrad import functional as F
    from minigrad.ops.layout import innermost, outermost

    use_threads(options.threads)
    rng = np.random.default_rng(0)
    shapes = (64, 32, 32, 32), (64, 32, 3, 3), (64,), (64, 64, 32, 32)
    x, w, b, g = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    our_x, our_g = outermost(innermost(x)), outermost(innermost(g))
    torch_x, torch_w, torch_b, torch_g = (torch.from_numpy(array) for array in (x, w, b, g))

    def ours():
        inputs = [Tensor(array, requires_grad=True) for array in (our_x, w, b)]
        out = F.conv2d(*inputs, padding=1)
        out.backward(our_g)
        return [out.data, *(t.grad for t in inputs)]

    def theirs():
        inputs = [t.detach().requires_grad_() for t in (torch_x, torch_w, torch_b)]
        out = torch.nn.functional.conv2d(*inputs, padding=1)
        out.backward(torch_g)
        return [out.detach(), *(t.grad for t in inputs)]

    for name, one, other in zip(("out", "x.grad", "w.grad", "b.grad"), ours(), theirs(), strict=True):
        check_same(name, one, other, atol=0.02)  # sums over up to 65,536 numbers
    return {"conv": take_turns(ours, theirs, options.rounds, calls=5)}


if __name__ == "__main__":
    main(measure, make_parser(__doc__, rounds=7))
