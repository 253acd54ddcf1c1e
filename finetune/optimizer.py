"""AdamW on a stack of adapters, every agent on its own.

Owns moments, step counts, gradient clipping and masks, all per agent: what happens to one adapter never depends on
another, and a masked adapter keeps every bit. AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fitness.cores import side_by_side


class PopulationAdamW:
    """Optimises tensors whose first dimension is the agent."""

    def __init__(
        self,
        factors: Sequence[Tensor],
        learning_rate: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        clip_norm: float | Tensor = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Start with empty moments.

        Args:
            factors: tensors [P, ...], with their gradients in `grad`.
            learning_rate: [P] each agent's own.
            betas: decay of the first and second moment.
            clip_norm: each agent's gradient is scaled down to at most this norm; one number or [P].
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
            [P] norm of each agent's gradient before clipping; an agent whose norm is not finite is left out.
        """
        gradients = [torch.zeros_like(f) if f.grad is None else f.grad for f in self.factors]
        norm: Tensor = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]).norm(dim=0)
        active = active & torch.isfinite(norm)
        self.steps += active
        chosen = active.nonzero().squeeze(1)
        everyone = len(chosen) == len(active)
        scalars = self._scalars((self.clip_norm / norm.clamp(min=1e-12)).clamp(max=1.0)[chosen], chosen)

        def move(index: int) -> None:
            stacks = (self.factors[index], self.first[index], self.second[index])
            members = stacks if everyone else tuple(stack[chosen] for stack in stacks)
            _update(members, gradients[index] if everyone else gradients[index][chosen], scalars, self.betas)
            if not everyone:
                for stack, moved in zip(stacks, members, strict=True):
                    stack[chosen] = moved
            self.factors[index].grad = None

        if active.device.type == "cpu":
            side_by_side(move, range(len(self.factors)), lone=1)
        else:
            list(map(move, range(len(self.factors))))
        return norm

    def _scalars(self, scale: Tensor, chosen: Tensor) -> Sequence[Tensor]:
        """Return, for the chosen: gradient scale, decay, step over the first moment's bias, the second's root bias."""
        # In float32, 1 - 0.999 has but five digits.
        steps, rate = self.steps[chosen], self.learning_rate[chosen].double()
        exact = (
            1 - rate * self.weight_decay,
            rate / (1 - self.betas[0] ** steps),
            (1 - self.betas[1] ** steps).sqrt(),
        )
        return scale, *(numbers.to(scale) for numbers in exact)


def _update(stacks: Sequence[Tensor], gradient: Tensor, scalars: Sequence[Tensor], betas: tuple[float, float]) -> None:
    """Move some agents' factor [P, ...] and its two moments, in place and in few passes over memory."""
    factor, first, second = stacks
    scale, decay, rate, bias = (numbers.reshape(-1, *[1] * (factor.dim() - 1)) for numbers in scalars)
    news = gradient * scale
    first.lerp_(news, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(news, news, value=1 - betas[1])
    spread = torch.sqrt(second, out=news).div_(bias).add_(1e-8)
    factor.mul_(decay).sub_(torch.div(first, spread, out=spread).mul_(rate))
