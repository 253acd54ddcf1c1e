"""Every operation with a backward of its own: the forward is PyTorch's, the gradient is the derivative."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fitness.forwards import operations
from fitness.forwards.operations import gated, normed, projected, rotated

SOURCE = torch.Generator().manual_seed(0)


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=SOURCE, dtype=dtype)


def rotate_by_hand(x: Tensor, angle: Tensor) -> Tensor:
    """Rotate pairs (i, i + size / 2) of [rows, T, heads, size] by `angle` [T, 1, size / 2]."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * angle.cos() - right * angle.sin(), right * angle.cos() + left * angle.sin()], dim=-1)


ANGLE = draw(5, 1, 4)
COS = torch.cat([ANGLE.cos(), ANGLE.cos()], dim=-1)
SIN = torch.cat([-ANGLE.sin(), ANGLE.sin()], dim=-1)
WEIGHT = draw(8)
LAYERS = ((draw(6, 8), draw(6)), (draw(4, 8), None))
"""Weight [out, in] and bias of two layers."""
SCALING = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)[:, None, None]
DOWN, UPS = draw(3, 2 + 2, 8), (draw(3, 6, 2), draw(3, 4, 2))

Operation = Callable[..., Tensor]


def project(x: Tensor, down: Tensor, *ups: Tensor) -> Tensor:
    return torch.cat(projected(x, LAYERS, down, ups, SCALING), dim=2)


def project_by_hand(x: Tensor, down: Tensor, *ups: Tensor) -> Tensor:
    outs = []
    for k, ((weight, bias), up) in enumerate(zip(LAYERS, ups, strict=True)):
        delta = SCALING * up @ down[:, 2 * k : 2 * k + 2]
        outs.append(F.linear(x, weight, bias) + torch.einsum("poi,pti->pto", delta, x))
    return torch.cat(outs, dim=2)


CASES: dict[str, tuple[Operation, Operation, tuple[Tensor, ...]]] = {
    "normed": (lambda x: normed(x, WEIGHT, 1e-6), lambda x: F.rms_norm(x, (8,), WEIGHT, 1e-6), (draw(3, 5, 8),)),
    "rotated": (lambda x: rotated(x, COS, SIN), lambda x: rotate_by_hand(x, ANGLE), (draw(3, 5, 2, 8),)),
    "gated": (lambda g, u: gated(g.clone(), u), lambda g, u: F.silu(g) * u, (draw(3, 5, 8), draw(3, 5, 8))),
    "projected": (project, project_by_hand, (draw(3, 5, 8), DOWN, *UPS)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_and_its_gradient_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain, inputs = CASES[name]
    monkeypatch.setattr(operations, "_WRITTEN_OUT", torch.float64)  # gradients are checked in double precision
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.testing.assert_close(ours(*leaves), plain(*inputs))
    assert torch.autograd.gradcheck(ours, leaves)
    with torch.inference_mode():
        torch.testing.assert_close(ours(*inputs), plain(*inputs))


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    x, down, ups = draw(3, 5, 8), DOWN.clone().requires_grad_(), [up.clone().requires_grad_() for up in UPS]
    project(x, down, *ups).sum().backward()
    assert x.grad is None
    assert down.grad is not None


def test_an_output_that_nobody_uses_adds_nothing() -> None:
    x, ups = draw(3, 5, 8).requires_grad_(), [up.clone().requires_grad_() for up in UPS]
    first, _ = projected(x, LAYERS, DOWN, ups, SCALING)
    first.sum().backward()
    (alone,) = projected(
        y := x.detach().clone().requires_grad_(), LAYERS[:1], DOWN[:, :2].contiguous(), ups[:1], SCALING
    )
    alone.sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert not torch.any(ups[1].grad)
