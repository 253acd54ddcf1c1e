"""Crossover that puts a child together from whole singular components of both parents."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evo.operators.adapter_crossover.components import Array, ComponentCrossover
from fitness.checks import check_number
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SingularCrossover(ComponentCrossover):
    """Some singular components of the first parent and, for the rest of the rank, of the second: exact, at most rank r.

    After PopuLoRA's top-k crossover (Creus Castanyer et al. 2026, https://arxiv.org/abs/2605.16727). Ours can also draw
    them, and where strength decides, the second parent gives its strongest, too.
    """

    share: float = 0.5
    """Share of the components that the first parent gives; 0 to 1."""
    chosen: Literal["strongest", "random"] = "random"
    """Which components of each parent."""

    def __post_init__(self) -> None:
        """Refuse shares that are none, and unknown choices."""
        check_number("share", self.share, 0.0, 1.0)
        if self.chosen not in ("strongest", "random"):
            raise ConfigError(f"chosen: expected strongest or random, got {self.chosen!r}")

    def coefficients(self, couples: int, components: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return ones and zeros; see `ComponentCrossover.coefficients`."""
        given = round(self.share * components)
        order = np.broadcast_to(np.arange(components), (2, couples, components))
        if self.chosen == "random":
            order = rng.permuted(order, axis=2)
        return (order[0] < given).astype(np.float64), (order[1] < components - given).astype(np.float64)
