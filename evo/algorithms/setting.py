"""What every algorithm is made of: its numbers, the materials of genomes, and the counter of ids.

Owns `PopulationConfig`, from which every algorithm's own configuration derives.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evo.algorithms.base import Algorithm
from evo.algorithms.elites import ELITES_OF
from evo.algorithms.inheritance import INHERITANCES
from evo.operators.selection.base import Selection
from evo.operators.variation import Support, Variation
from fitness.adapter import Adapter
from fitness.checks import check_choice, check_integer, check_number
from fitness.environments.grammar import Grammar
from fitness.errors import ConfigError

Behaviours = Mapping[int, NDArray[np.float64]]
"""Genome id -> [d] what it did, each number from 0 to 1 (`fitness.behaviour`)."""


class Ids:
    """Counts genomes; algorithms that work on one run share it."""

    def __init__(self) -> None:
        """Start at 0."""
        self.next = 0

    def take(self, count: int = 1) -> int:
        """Return the first of `count` new ids."""
        self.next += count
        return self.next - count


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What genomes are made of and with."""

    grammar: Grammar
    """Of the environment; what strategies are made of."""
    initial: Adapter
    """Every founder's adapter."""
    selection: Selection
    """Chooses parents."""
    variation: Variation
    """Makes children of them."""
    behaviours: tuple[str, ...] = ()
    """Names of the numbers that a behaviour has."""
    support: Support = field(default_factory=Support)
    """What some operators need beside the parents."""


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """Numbers that every algorithm has."""

    whose: ClassVar[tuple[str, ...]] = ("survivors", "hall_of_fame")
    """What `elites_of` can be here."""

    population: int
    """Members tested in every generation, at least 2."""
    elites: int
    """How many are given to fine-tuning, the best of `elites_of`; at least 0."""
    shrinkage: float = 1.0
    """How far the mean of a little-tested genome is drawn to the population's, in generations of testing; 0 or more."""
    tolerance: float = 1.0
    """Standard errors by which a tuned child may be worse than its parent and still take its place; at least 0."""
    strategies: tuple[str, ...] = ()
    """Strategy texts of the founders, used in turn; empty: each founder's is drawn from the grammar."""
    elites_of: str = "survivors"
    """Whom the elites are the best of: "survivors", "hall_of_fame" (who may have left), "islands" or "niches", as far
    as the algorithm has them; see `evo.algorithms.elites`."""
    inheritance: str = "lamarckian"
    """What becomes of tuned weights: "lamarckian" has them inherited, "baldwinian" has their lives count for the parent
    alone, "none" measures them and forgets them; see `evo.algorithms.inheritance`."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave no population."""
        check_integer("population", self.population, 2)
        check_integer("elites", self.elites, 0, self.population, "the population")
        check_number("shrinkage", self.shrinkage, 0.0)
        check_number("tolerance", self.tolerance, 0.0)
        check_choice("inheritance", self.inheritance, INHERITANCES)
        check_choice("elites_of", self.elites_of, ELITES_OF)
        if self.elites_of not in self.whose:
            raise ConfigError(
                f"elites_of: expected one of {', '.join(self.whose)}, for {type(self).__name__} has no "
                f"{self.elites_of}, got {self.elites_of!r}"
            )
        if isinstance(self.strategies, str):
            raise ConfigError(f"strategies: expected a list of texts, got the text {self.strategies!r}")

    @property
    def places(self) -> int:
        """How many places elites and their tuned children take beside the survivors, at most: who has left returns."""
        return 2 * self.elites if self.elites_of == "hall_of_fame" else self.elites

    @abstractmethod
    def assemble(self, materials: Materials, ids: Ids) -> Algorithm:
        """Return the algorithm, ready for generation 0; ids come from `ids`."""

    def build(
        self,
        grammar: Grammar,
        initial: Adapter,
        selection: Selection,
        variation: Variation,
        behaviours: Sequence[str] = (),
        support: Support | None = None,
    ) -> Algorithm:
        """Return the algorithm, ready for generation 0.

        Args:
            grammar: of the environment; what strategies are made of.
            initial: every founder's adapter.
            selection: chooses parents.
            variation: makes children of them.
            behaviours: names of the numbers that a behaviour has.
            support: what some operators need beside the parents.

        Raises:
            StrategyError: a text of `strategies` does not follow the grammar.
            ConfigError: a field names something that the environment does not have.
        """
        materials = Materials(
            grammar=grammar,
            initial=initial,
            selection=selection,
            variation=variation,
            behaviours=tuple(behaviours),
            support=support or Support(),
        )
        return self.assemble(materials, Ids())
