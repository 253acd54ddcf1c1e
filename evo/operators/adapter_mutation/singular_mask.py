"""Mutation that weakens or removes some of what an adapter has learnt."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evo.operators.adapter_mutation.base import AdapterMutation, as_steps
from evo.operators.singular import left_singular, reweighed
from fitness.adapter import AdapterStack
from fitness.checks import check_number


@dataclass(frozen=True, kw_only=True)
class SingularMaskMutation(AdapterMutation):
    """In each module, `ceil(share * r)` random singular components lose `min(step, 1)` of their strength.

    PopuLoRA (Creus Castanyer et al. 2026, https://arxiv.org/abs/2605.16727) removes them, as a step of 1 or more does
    here. A keeps its rows, so that what is gone can be learnt anew. The only direction of this mutation is down: it
    prunes, and needs training, crossover or another mutation beside it.
    """

    share: float = 0.3
    """Share of a module's singular components; above 0, at most 1."""

    def __post_init__(self) -> None:
        """Refuse shares of nothing."""
        check_number("share", self.share, 1e-6, 1.0)

    def mutate(self, stack: AdapterStack, step_sizes: NDArray[np.float64], rng: np.random.Generator) -> AdapterStack:
        """Return the mutants; see `AdapterMutation.mutate`."""
        stack.check_uniform()
        loss = as_steps(step_sizes, len(stack)).clamp_max(1.0)[..., 0]
        b = {}
        for name in stack.spec.modules:
            up = stack.b[name]
            vectors, values = left_singular(up, stack.a[name])
            order = rng.permuted(np.broadcast_to(np.arange(values.shape[1]), values.shape), axis=1)
            chosen = torch.from_numpy(order < math.ceil(self.share * values.shape[1]))
            b[name] = up - reweighed(up, vectors, loss * chosen)
        return AdapterStack(stack.spec, stack.a, b)
