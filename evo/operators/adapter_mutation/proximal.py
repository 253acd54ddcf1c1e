"""Mutation that moves an adapter most where its behaviour minds least.

Owns what is done with sensitivities; `evo.senses` measures them.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo.operators.adapter_mutation.base import AdapterMutation
from evo.operators.adapter_mutation.gaussian import GaussianMutation
from fitness.adapter import AdapterStack
from fitness.checks import check_number
from fitness.errors import AdapterError


@dataclass(frozen=True, kw_only=True)
class ProximalMutation(AdapterMutation):
    """Another mutation's change of each weight, divided by how much the weight matters.

    Safe mutation by output gradients (Lehman et al. 2018, https://arxiv.org/abs/1712.06563) as PDERL has it (Bodnar,
    Day and Lio 2020, https://arxiv.org/abs/1906.09807): `theta + x / s` with s the sensitivity of each weight. Ours
    divides by s relative to its root mean square over the adapter's A or B factors. So the step size keeps its meaning,
    the size of a change relative to the module, and s only says where it goes; where nothing is known (all s zero) the
    change is the other mutation's.
    """

    senses: ClassVar[bool] = True

    mutation: AdapterMutation = field(default_factory=GaussianMutation)
    """Proposes the change."""
    floor: float = 0.1
    """Least relative sensitivity: no change grows by more than 1 / floor. Above 0."""

    def __post_init__(self) -> None:
        """Refuse floors that would let a weight grow without bound."""
        check_number("floor", self.floor, 1e-6)

    def mutate(self, stack: AdapterStack, step_sizes: NDArray[np.float64], rng: np.random.Generator) -> AdapterStack:
        """Return the other mutation's mutants: nothing is known of what matters."""
        return self.mutation.mutate(stack, step_sizes, rng)

    def mutate_sensed(
        self,
        stack: AdapterStack,
        sensitivity: AdapterStack,
        step_sizes: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> AdapterStack:
        """Return the mutants; see `AdapterMutation.mutate_sensed`."""
        if sensitivity.spec != stack.spec or len(sensitivity) != len(stack):
            raise AdapterError(
                f"sensitivity: expected that of {len(stack)} adapters of {stack.spec}, "
                f"got {len(sensitivity)} of {sensitivity.spec}"
            )
        mutants = self.mutation.mutate(stack, step_sizes, rng)
        a, b = (
            {
                name: old + (after[name] - old) / relative
                for (name, old), relative in zip(before.items(), by, strict=True)
            }
            for before, after, by in (
                (stack.a, mutants.a, self._relative([sensitivity.a[name] for name in stack.a])),
                (stack.b, mutants.b, self._relative([sensitivity.b[name] for name in stack.b])),
            )
        )
        return AdapterStack(stack.spec, a, b)

    def _relative(self, sensitivities: list[Tensor]) -> list[Tensor]:
        """Return each [P, m, n] over the root mean square of all, an adapter at a time; no less than the floor."""
        square = torch.cat([s.flatten(1) for s in sensitivities], dim=1).pow(2).mean(dim=1).sqrt()[:, None, None]
        known = square > 0
        return [torch.where(known, s / square.clamp_min(1e-30), 1.0).clamp_min(self.floor) for s in sensitivities]
