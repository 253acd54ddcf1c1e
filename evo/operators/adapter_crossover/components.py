"""Crossover by singular components: rank-one parts of both parents' updates, kept, dropped or scaled.

Owns `ComponentCrossover`, from which members derive that only say how much each part counts.
"""

from abc import abstractmethod
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from evo.operators.adapter_crossover.base import AdapterCrossover, check_alike, check_finite
from evo.operators.adapter_crossover.exact import merge
from evo.operators.singular import left_singular, reweighed
from fitness.adapter import AdapterStack

Array = NDArray[np.float64]


class ComponentCrossover(AdapterCrossover):
    """Sums the parents' singular components, each times a coefficient, module by module; truncated to rank r."""

    @abstractmethod
    def coefficients(self, couples: int, components: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return what the first and the second parents' components count, [couples, components], strongest first."""

    @final
    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children; see `AdapterCrossover.cross`."""
        parents = (first, second)
        check_alike(parents)
        check_finite(parents)
        chosen: list[dict[str, torch.Tensor]] = [{}, {}]
        for name, fan_in, fan_out in first.spec.shapes:
            counts = self.coefficients(len(first), min(first.spec.rank, fan_in, fan_out), rng)
            for parent, count, ups in zip(parents, counts, chosen, strict=True):
                vectors, _ = left_singular(parent.b[name], parent.a[name])
                ups[name] = reweighed(parent.b[name], vectors, torch.from_numpy(count))
        return merge([AdapterStack(p.spec, p.a, ups) for p, ups in zip(parents, chosen, strict=True)], (1.0, 1.0))
