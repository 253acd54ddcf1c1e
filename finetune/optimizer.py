"""AdamW on a population's adapters, every agent on its own.

Owns moments, step counts, gradient clipping and masks, all per agent: what happens to one adapter never depends on
another, and a masked adapter keeps every bit. AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from fitness.cores import side_by_side

_TOGETHER = 1 << 17
"""Weights that a core moves at a time: with their gradients and moments, what its cache holds."""


class PopulationAdamW:
    """Optimises a tensor [P, N]: a row of weights for each agent."""

    def __init__(
        self,
        weights: Tensor,
        learning_rate: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        clip_norm: float | Tensor = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Start with empty moments.

        Args:
            weights: [P, N], with its gradient in `grad`.
            learning_rate: [P] each agent's own.
            betas: decay of the first and second moment.
            clip_norm: each agent's gradient is scaled down to at most this norm; one number or [P].
            weight_decay: decoupled, per step and learning rate.
        """
        self.weights, self.learning_rate = weights, learning_rate
        self.betas, self.clip_norm, self.weight_decay = betas, clip_norm, weight_decay
        self.first, self.second = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps = torch.zeros_like(learning_rate, dtype=torch.float64)

    @torch.no_grad()
    def step(self, active: Tensor) -> Tensor:
        """Apply the gradients of the agents in `active` [P] (bool) and clear the gradient.

        Returns:
            [P] norm of each agent's gradient before clipping; an agent whose norm is not finite is left out.
        """
        gradient = torch.zeros_like(self.weights) if self.weights.grad is None else self.weights.grad
        norm: Tensor = torch.linalg.vector_norm(gradient, dim=1)
        active = active & torch.isfinite(norm)
        self.steps += active
        scalars = self._scalars((self.clip_norm / norm.clamp(min=1e-12)).clamp(max=1.0))
        stacks = (self.weights, self.first, self.second, gradient)

        def move(piece: tuple[slice, slice]) -> None:
            _update([stack[piece] for stack in stacks], [each[piece[0], None] for each in scalars], self.betas)

        if active.device.type == "cpu":
            side_by_side(move, _pieces(active.tolist(), gradient.shape[1], _TOGETHER), lone=1)
        else:
            list(map(move, _pieces(active.tolist(), gradient.shape[1], gradient.numel())))
        self.weights.grad = None
        return norm

    def _scalars(self, scale: Tensor) -> Sequence[Tensor]:
        """Return, for each agent: gradient scale, decay, step over the first moment's bias, the second's root bias."""
        # In float32, 1 - 0.999 has but five digits.
        steps, rate = self.steps, self.learning_rate.double()
        exact = (
            1 - rate * self.weight_decay,
            rate / (1 - self.betas[0] ** steps),
            (1 - self.betas[1] ** steps).sqrt(),
        )
        return scale, *(numbers.to(scale) for numbers in exact)


def _pieces(active: Sequence[bool], width: int, most: int) -> list[tuple[slice, slice]]:
    """Cut the rows of the active agents, and long rows too, into pieces of at most `most` weights."""
    height, pieces, first = max(1, most // width), [], 0
    for live, run in groupby(active):
        last = first + len(list(run))
        rows = range(first, last, height) if live else ()
        pieces += [
            (slice(row, min(row + height, last)), slice(column, column + most))
            for row in rows
            for column in range(0, width, most)
        ]
        first = last
    return pieces


def _update(stacks: Sequence[Tensor], scalars: Sequence[Tensor], betas: tuple[float, float]) -> None:
    """Move weights [p, n] and their two moments, in place and in few passes over memory."""
    (weights, first, second, gradient), (scale, decay, rate, bias) = stacks, scalars
    news = gradient * scale
    first.lerp_(news, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(news, news, value=1 - betas[1])
    spread = torch.sqrt(second, out=news).div_(bias).add_(1e-8)
    weights.mul_(decay).sub_(torch.div(first, spread, out=spread).mul_(rate))
