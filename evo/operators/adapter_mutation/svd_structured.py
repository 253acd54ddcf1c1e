"""Mutation of how strong an adapter's directions are and where they lead, within the directions it has."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evo.operators.adapter_mutation.base import AdapterMutation, as_steps
from evo.operators.singular import left_singular
from fitness.adapter import AdapterStack


@dataclass(frozen=True, kw_only=True)
class SvdStructuredMutation(AdapterMutation):
    """`S' = S exp(step z)` and `U' = U exp(step (M - M^T) / sqrt(2))`, z and M standard normal, for `B A = U S V^T`.

    The update keeps its row and column spaces: what an adapter reads and writes stays, what it makes of it changes.
    PopuLoRA's structured mutation (Creus Castanyer et al. 2026, https://arxiv.org/abs/2605.16727) turns U by `I + step
    skew`; the exponential is a true rotation, so that only z changes singular values. A small step turns every plane of
    two directions by an angle of that standard deviation. An update of zero has nothing to vary: B stays at zero until
    training, crossover or another mutation moves it.
    """

    def mutate(self, stack: AdapterStack, step_sizes: NDArray[np.float64], rng: np.random.Generator) -> AdapterStack:
        """Return the mutants; see `AdapterMutation.mutate`. A stays as it is."""
        stack.check_uniform()
        steps = as_steps(step_sizes, len(stack)).double()
        b = {}
        for name in stack.spec.modules:
            up = stack.b[name]
            vectors, values = left_singular(up, stack.a[name])
            z, m = (torch.from_numpy(rng.standard_normal((*values.shape, n))) for n in (1, values.shape[1]))
            turn = torch.matrix_exp(steps * (m - m.mT) / 2**0.5)
            change = turn * (steps * z).exp().mT - torch.eye(len(turn[0]), dtype=turn.dtype)
            b[name] = up + (vectors @ (change @ (vectors.mT @ up.double()))).to(up.dtype)
        return AdapterStack(stack.spec, stack.a, b)
