"""AdamW on a stack of adapters, every agent on its own.

Owns moments, step counts, gradient clipping and masks, all per agent: what happens to one adapter never depends on
another, and a masked adapter keeps every bit. AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class PopulationAdamW:
    """Optimises tensors whose first dimension is the agent."""

    def __init__(
        self,
        factors: Sequence[Tensor],
        learning_rate: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        clip_norm: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Start with empty moments.

        Args:
            factors: tensors [P, ...] that require gradients.
            learning_rate: [P] each agent's own.
            betas: decay of the first and second moment.
            clip_norm: each agent's gradient is scaled down to at most this norm.
            weight_decay: decoupled, per step and learning rate.
        """
        self.factors, self.learning_rate = list(factors), learning_rate
        self.betas, self.clip_norm, self.weight_decay = betas, clip_norm, weight_decay
        self.first = [torch.zeros_like(f) for f in self.factors]
        self.second = [torch.zeros_like(f) for f in self.factors]
        self.steps = torch.zeros_like(learning_rate, dtype=torch.float64)

    @torch.no_grad()
    def step(self, active: Tensor) -> Tensor:
        """Apply the gradients of the agents in `active` [P] (bool) and clear all gradients.

        Returns:
            [P] norm of each agent's gradient before clipping.
        """
        gradients = [torch.zeros_like(f) if f.grad is None else f.grad for f in self.factors]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        active = active & torch.isfinite(norm)
        scale = (self.clip_norm / norm.clamp(min=1e-12)).clamp(max=1.0)
        self.steps += active
        for index, (factor, gradient) in enumerate(zip(self.factors, gradients, strict=True)):
            self._update(index, factor, gradient * _over(scale, gradient), active)
            factor.grad = None
        return norm

    def _update(self, index: int, factor: Tensor, gradient: Tensor, active: Tensor) -> None:
        """Move one stack of factors."""
        mask = _over(active, factor)
        for moments, beta, news in (
            (self.first, self.betas[0], gradient),
            (self.second, self.betas[1], gradient.square()),
        ):
            moments[index] = torch.where(mask, beta * moments[index] + (1 - beta) * news, moments[index])
        count = self.steps.clamp(min=1)
        # In float32, 1 - 0.999 has but five digits.
        unbias = [_over((1 - beta**count).to(factor), factor) for beta in self.betas]
        first, second = self.first[index] / unbias[0], self.second[index] / unbias[1]
        rate = _over(self.learning_rate, factor)
        moved = factor * (1 - rate * self.weight_decay) - rate * first / (second.sqrt() + 1e-8)
        factor.copy_(torch.where(mask, moved, factor))


def _over(per_agent: Tensor, like: Tensor) -> Tensor:
    """Shape [P] so that it broadcasts over [P, ...]."""
    return per_agent.reshape(-1, *[1] * (like.dim() - 1))
