"""The generational algorithms: (mu + lambda), (mu, lambda), and all between them.

Owns who survives a generation and who is in the next: survivors young enough, which are tested again and keep a running
mean; tuned children of the elites, each beside its parent; and enough offspring (lambda) to make exactly `population`
members. Does not own how parents are chosen (`evo.operators.selection`) or how children are made
(`evo.operators.variation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evo.algorithms.population import PopulationAlgorithm
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.genome import Genome
from fitness.checks import check_integer
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GenerationalConfig(PopulationConfig):
    """Numbers of the generational algorithm (Schwefel and Rudolph 1995, https://doi.org/10.1007/3-540-59496-5_351).

    Example: `GenerationalConfig(population=32, elites=4).build(grammar, initial, Tournament(size=3), Variation())`
    """

    survivors: int | None = None
    """mu: members kept for the next generation, and its parents; survivors and their tuned children must fit into the
    population. None: a quarter of the population, but no fewer than `elites`."""
    lifetime: int | None = None
    """kappa: generations that a genome may live, at least 1; 1 is (mu, lambda), None is (mu + lambda)."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave no population."""
        super().__post_init__()
        if self.survivors is not None:
            check_integer("survivors", self.survivors, 1, self.population, "the population")
        if self.lifetime is not None:
            check_integer("lifetime", self.lifetime, 1)
            if self.num_survivors + self.places == self.population:
                raise ConfigError(
                    f"survivors: expected room for the newborn, who alone live on, in a population of "
                    f"{self.population}, got {self.num_survivors} survivors and {self.elites} elites"
                )
        if self.elites > self.num_survivors:
            raise ConfigError(f"elites: expected at most the {self.num_survivors} survivors, got {self.elites}")
        if self.places + self.num_survivors > self.population:
            beside = ", who may have left and returns," if self.places > self.elites else ""
            raise ConfigError(
                f"elites: expected room for {self.num_survivors} survivors and one tuned child for each elite{beside} "
                f"in a population of {self.population}, got {self.elites}"
            )

    @property
    def num_survivors(self) -> int:
        """How many survive a generation (mu)."""
        return self.survivors if self.survivors is not None else max(self.elites, self.population // 4, 1)

    def assemble(self, materials: Materials, ids: Ids) -> "Generational":
        """See `PopulationConfig.assemble`."""
        return Generational(self, materials, ids)


class Generational(PopulationAlgorithm):
    """(mu, kappa, lambda) with re-tested incumbents, shrunken means and Lamarckian children.

    The best mu by shrunken mean (`Standing`) survive, where the prior weighs `shrinkage` times a generation's episodes.
    A limit on age forgets lucky means and lets a population leave a peak; who is too old to live on is a parent once.
    """

    def __init__(self, config: GenerationalConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._config = config

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return survivors best first, the tuned, migrants, and as many offspring as there is room for."""
        parents = list(self._members.values())
        staying = [genome for genome in parents if genome.id in self._waiting or self._may_live(genome)]
        others = [*self._waiting.values(), *self._guests]
        count = self._config.population - len(staying) - len(others)
        return staying + others + self._breed(parents, self._standing.pool(list(self._members)), count, rng)

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return the best mu of those young enough."""
        young = [id_ for id_ in candidates if self._may_live(self._members[id_])]
        most = self._config.num_survivors
        kept = self._standing.rank(young, most) or self._standing.rank(candidates, most) or list(candidates)[:most]
        return [self._members[id_] for id_ in kept]

    @property
    def room(self) -> int:
        """How many children still fit; where nobody lives long, a place is left for the newborn."""
        return max(0, super().room - (self._config.lifetime is not None))

    def _may_live(self, genome: Genome) -> bool:
        """Tell whether a genome is young enough for this generation."""
        return self._config.lifetime is None or self.generation - genome.born < self._config.lifetime
