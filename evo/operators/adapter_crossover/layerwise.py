"""Crossover by module: each module's update comes whole from one parent."""

from dataclasses import dataclass

import numpy as np
import torch

from evo.operators.adapter_crossover.base import AdapterCrossover, check_alike, check_finite
from fitness.adapter import AdapterStack
from fitness.checks import check_number


@dataclass(frozen=True, kw_only=True)
class LayerwiseCrossover(AdapterCrossover):
    """Uniform crossover (Syswerda 1989) with modules for genes: what was learnt together in one module stays together.

    Both factors are taken, so the child's update is exact and as open to training as the parent's.
    """

    share: float = 0.5
    """Chance of each module to come from the first parent; 0 to 1."""

    def __post_init__(self) -> None:
        """Refuse what is no chance."""
        check_number("share", self.share, 0.0, 1.0)

    def cross(self, first: AdapterStack, second: AdapterStack, rng: np.random.Generator) -> AdapterStack:
        """Return the children; see `AdapterCrossover.cross`."""
        check_alike((first, second))
        check_finite((first, second))
        mine = torch.from_numpy(rng.random((len(first.spec.modules), len(first))) < self.share)[..., None, None]
        chosen = dict(zip(first.spec.modules, mine, strict=True))
        a, b = (
            {name: torch.where(chosen[name], factor, other[name]) for name, factor in one.items()}
            for one, other in ((first.a, second.a), (first.b, second.b))
        )
        return AdapterStack(first.spec, a, b)
