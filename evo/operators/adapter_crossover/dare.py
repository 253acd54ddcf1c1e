"""Crossover that drops a random part of both parents and scales the rest up: DARE, on singular components."""

from dataclasses import dataclass

import numpy as np

from evo.operators.adapter_crossover.components import Array, ComponentCrossover
from fitness.checks import check_number


@dataclass(frozen=True, kw_only=True)
class DareCrossover(ComponentCrossover):
    """The mean of both parents, of which a random part is dropped and the rest scaled up to make good for it.

    DARE (Yu et al. 2023, https://arxiv.org/abs/2311.03099) drops single elements of the dense delta W with chance
    `1 - density` and divides the others by `density`, so that the expectation stays. That destroys low rank, and rank r
    would then lose most of what is left; ours drops singular components instead. Their sum's expectation is the exact
    mean; it is truncated only where more than r components are kept, which a density of up to a half makes rare.
    """

    density: float = 0.3
    """Chance of a component to be kept; above 0 (nothing could make good for all), at most 1."""

    def __post_init__(self) -> None:
        """Refuse densities at which nothing is left."""
        check_number("density", self.density, 1e-3, 1.0)

    def coefficients(self, couples: int, components: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return 0 for the dropped and `0.5 / density` for the kept; see `ComponentCrossover.coefficients`."""
        first, second = (rng.random((2, couples, components)) < self.density) * (0.5 / self.density)
        return first, second
