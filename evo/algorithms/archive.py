"""Archives: everything worth keeping is kept, and some of it is tested again.

Owns `ArchiveConfig` and `ArchiveAlgorithm`: an archive of genomes and of what they did, parents drawn from all of it
with equal chances, and its least-tested members beside the offspring, so that luck does not stay. An algorithm says
which of two sets of genomes remain (`_select`).
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo.algorithms.base import AlgorithmState
from evo.algorithms.elites import best_of_niches
from evo.algorithms.population import PopulationAlgorithm
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.genome import Genome, apart
from evo.operators.selection.base import Pool
from evo.operators.selection.tournament import Tournament
from fitness.checks import check_integer
from fitness.errors import ConfigError, nearest

_ANYBODY = Tournament(size=1)


@dataclass(frozen=True, kw_only=True)
class ArchiveConfig(PopulationConfig):
    """Numbers that every archive has."""

    whose = ("survivors", "hall_of_fame", "niches")

    descriptors: tuple[str, ...] = ("entropy",)
    """Names of the numbers that tell behaviours apart: actions, or `entropy`; empty for all of them."""
    retested: int | None = None
    """Members of the archive that are tested again in every generation, those with the fewest episodes; None: a
    quarter of the population."""

    def __post_init__(self) -> None:
        """Refuse what leaves no offspring."""
        super().__post_init__()
        object.__setattr__(self, "descriptors", tuple(self.descriptors))
        if self.retested is not None:
            check_integer("retested", self.retested, 0, self.population - 1, "the population but one")
        if 2 * self.places >= self.population:
            part = "half" if self.places == self.elites else "a quarter"
            raise ConfigError(
                f"elites: expected fewer than {part} of the population of {self.population}, for each is tested beside "
                f"its tuned child, got {self.elites}"
            )

    @property
    def num_retested(self) -> int:
        """How many members of the archive are tested again."""
        return self.population // 4 if self.retested is None else self.retested


class ArchiveAlgorithm(PopulationAlgorithm):
    """Keeps what is good or different."""

    def __init__(self, config: ArchiveConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._config = config
        self._archive: dict[int, Genome] = {}
        self._behaviours: dict[int, list[float]] = {}
        unknown = [name for name in config.descriptors if name not in materials.behaviours]
        if unknown:
            hint = nearest(unknown[0], materials.behaviours)
            raise ConfigError(
                f"algorithm.descriptors: expected names of {', '.join(materials.behaviours)}, got {unknown[0]!r}{hint}"
            )
        self._columns = [materials.behaviours.index(name) for name in config.descriptors or materials.behaviours]

    @abstractmethod
    def _select(self, scores: NDArray[np.float64], behaviours: NDArray[np.float64]) -> list[int]:
        """Return the positions of those who remain.

        Args:
            scores: [n], best first.
            behaviours: [n, d] what they did.
        """

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return elites with their tuned children, migrants, the least-tested of the archive, and offspring."""
        archive = list(self._archive.values())
        known = self._standing.evaluations
        tested = [genome for genome in archive if genome.id in self._waiting]
        others = [*self._waiting.values(), *self._guests]
        room = self._config.population - len(tested) - len(others)
        rest = sorted((g for g in archive if g.id not in self._waiting), key=lambda g: (known[g.id].count, g.id))
        tested += rest[: max(0, min(self._config.num_retested - len(tested), room - 1))]
        scores = np.array([self._standing.scores[genome.id] for genome in archive])
        pool = Pool(scores=scores, cases=scores[:, None], children=np.zeros(len(archive), np.int64))
        count = self._config.population - len(tested) - len(others)
        return tested + others + self._breed(archive, pool, count, rng, _ANYBODY)

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return the new archive, best first."""
        for id_ in self._members:
            done = np.asarray(behaviours[id_], np.float64)
            if done.any() or id_ not in self._behaviours:  # who decided nothing has not changed its ways
                self._behaviours[id_] = done[self._columns].tolist()
        gone = set(self._members) - set(candidates)
        everyone = {id_: genome for id_, genome in (self._archive | self._members).items() if id_ not in gone}
        ranked = self._standing.rank(everyone, len(everyone))
        scores = np.array([self._standing.scores[id_] for id_ in ranked])
        kept = [ranked[i] for i in self._select(scores, np.array([self._behaviours[id_] for id_ in ranked]))]
        self._archive = {id_: apart(everyone[id_]) for id_ in kept}
        self._behaviours = {id_: self._behaviours[id_] for id_ in kept}
        return list(self._archive.values())

    def elites(self) -> list[Genome]:
        """Return the best survivors, the hall of fame, or the best of niches. See `Algorithm.elites`."""
        survivors = self.survivors()
        if self._numbers.elites_of != "niches":
            return super().elites()
        behaviours = np.array([self._behaviours[one.id] for one in survivors])
        return [survivors[i] for i in best_of_niches(behaviours, self._numbers.elites)]

    def _known(self) -> Iterable[int]:
        """Return the whole archive."""
        return self._archive

    @property
    def room(self) -> int:
        """How many children still fit into the next generation: with a parent for each, and one newborn."""
        return (self._config.population - len(self._guests) - 1) // 2 - len(self._waiting)

    def _own_state(self) -> AlgorithmState:
        """Return the archive."""
        data = {"archive": list(self._archive), "behaviours": list(map(list, self._behaviours.items()))}
        return AlgorithmState(data, tuple(self._archive.values()))

    def _own_restore(self, data: Mapping[str, Any], genomes: Mapping[int, Genome]) -> None:
        """Become what `_own_state` described."""
        self._archive = {id_: genomes[id_] for id_ in data["archive"]}
        self._behaviours = dict(map(tuple, data["behaviours"]))
