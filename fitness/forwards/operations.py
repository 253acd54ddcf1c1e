"""What the fast forward is made of: each operation with a backward pass written for it.

Owns the mathematics of one operation at a time, forward and backward. PyTorch's own backward goes through every small
step of the forward again and adds up what meets; written out, a third of the memory traffic goes. Under
`torch.no_grad` and `torch.inference_mode` nothing is kept. Frozen weights (norms, base layers) get no gradients.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_WRITTEN_OUT = torch.float32
"""Type of norms with a backward of their own; fewer bits want the care that PyTorch takes."""


def normed(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return x / rms(x) * weight over the last dimension (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467)."""
    if not torch.is_grad_enabled() or x.dtype != _WRITTEN_OUT:
        return F.rms_norm(x, (x.shape[-1],), weight, epsilon)
    result: Tensor = _apply(_Normed, x, weight, epsilon)
    return result


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate [rows, T, heads, size] by position: each half times `cos` plus the other half times signed `sin`.

    Rotary embedding: Su et al. 2021, https://arxiv.org/abs/2104.09864. `sin` [T, 1, size]: its first half negated.
    """
    if not torch.is_grad_enabled():
        return _rotate(x, cos, sin)
    result: Tensor = _apply(_Rotated, x, cos, sin)
    return result


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up (Shazeer 2020, https://arxiv.org/abs/2002.05202); without gradients, in `gate`'s place."""
    if not torch.is_grad_enabled():
        return F.silu(gate, inplace=True).mul_(up)
    result: Tensor = _apply(_Gated, gate, up)
    return result


def projected(
    x: Tensor, layers: Sequence[tuple[Tensor, Tensor | None]], down: Tensor, ups: Sequence[Tensor], scaling: Tensor
) -> Any:
    """Apply adapted linear layers that share their input, with one backward for all of them.

    Args:
        x: [P, tokens, in].
        layers: frozen weight [out, in] and bias of each layer.
        down: [P, k x r, in] the layers' A factors under each other.
        ups: their B factors, [P, out, r].
        scaling: alpha / rank of each adapter, [P, 1, 1].

    Returns:
        A tuple of outputs [P, tokens, out], one per layer.
    """
    return _apply(_Projected, x, layers, scaling, down, *ups)


def _apply(operation: Any, *inputs: Any) -> Any:
    """Run an operation whose backward is its own."""
    return operation.apply(*inputs)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    other_half = x.roll(x.shape[-1] // 2, -1)
    return (x * cos).addcmul_(other_half, sin)


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        scale = torch.linalg.vecdot(x, x).div_(x.shape[-1]).add_(epsilon).rsqrt_().unsqueeze_(-1)
        unit: Tensor = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        unit, scale, weight = ctx.saved_tensors
        out = gradient * weight
        along = torch.linalg.vecdot(out, unit).div_(-unit.shape[-1]).unsqueeze_(-1)
        return out.addcmul_(unit, along).mul_(scale), None, None


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return _rotate(gradient, cos, sin.roll(sin.shape[-1] // 2, -1)), None, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient * up, gate), F.silu(gate).mul_(gradient)


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layers: Sequence[Any], scaling: Tensor, down: Tensor, *ups: Tensor
    ) -> tuple[Tensor, ...]:
        low = torch.bmm(x, down.mT).mul_(scaling)
        outs = tuple(
            F.linear(x, weight, bias).baddbmm_(part, up.mT)
            for (weight, bias), up, part in zip(layers, ups, low.split([up.shape[2] for up in ups], dim=2), strict=True)
        )
        ctx.layers = layers
        ctx.save_for_backward(x, low, scaling, down, *ups)
        return outs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, low, scaling, down, *ups = ctx.saved_tensors
        ranks = [up.shape[2] for up in ups]
        parts = [torch.bmm(gradient, up) for gradient, up in zip(gradients, ups, strict=True)]
        slow = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
        slow.mul_(scaling)
        risen = [torch.bmm(g.mT, part) for g, part in zip(gradients, low.split(ranks, dim=2), strict=True)]
        back = None
        if ctx.needs_input_grad[0]:
            back = torch.bmm(slow, down)
            flat = back.view(-1, back.shape[2])
            for (weight, _), gradient in zip(ctx.layers, gradients, strict=True):
                flat.addmm_(gradient.reshape(-1, gradient.shape[2]), weight)
        return back, None, None, torch.bmm(slow.mT, x), *risen
