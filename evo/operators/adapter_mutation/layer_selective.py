"""Mutation of a few modules only: another mutation, on a random share of each adapter's modules."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from evo.operators.adapter_mutation.base import AdapterMutation
from evo.operators.adapter_mutation.gaussian import GaussianMutation
from fitness.adapter import AdapterStack
from fitness.checks import check_number


@dataclass(frozen=True, kw_only=True)
class LayerSelectiveMutation(AdapterMutation):
    """Each adapter gets the mutants of `ceil(share * modules)` modules of its own choosing; the others stay.

    PopuLoRA's layer-selective mutation (Creus Castanyer et al. 2026, https://arxiv.org/abs/2605.16727), around any
    mutation.
    """

    share: float = 0.33
    """Share of the modules that mutate; above 0, at most 1."""
    mutation: AdapterMutation = field(default_factory=GaussianMutation)
    """What happens to them."""

    def __post_init__(self) -> None:
        """Refuse shares of nothing."""
        check_number("share", self.share, 1e-6, 1.0)

    def mutate(self, stack: AdapterStack, step_sizes: NDArray[np.float64], rng: np.random.Generator) -> AdapterStack:
        """Return the mutants; see `AdapterMutation.mutate`."""
        modules = stack.spec.modules
        mutants = self.mutation.mutate(stack, step_sizes, rng)
        order = rng.permuted(np.broadcast_to(np.arange(len(modules)), (len(stack), len(modules))), axis=1)
        chosen = torch.from_numpy(order < math.ceil(self.share * len(modules))).T[..., None, None]
        a, b = (
            {name: torch.where(here, after[name], before[name]) for name, here in zip(modules, chosen, strict=True)}
            for before, after in ((stack.a, mutants.a), (stack.b, mutants.b))
        )
        return AdapterStack(stack.spec, a, b)
