"""Controls: what selection and heredity are measured against, at the same price.

Owns `Frozen` (nothing changes and nobody is chosen), `BestOfN` (founders are drawn once, and the best is found),
`RandomSearch` (new founders in every generation, the best are kept), `Lineages` (training without choice) and `Drift`
(heredity without choice). The first three tune nobody, whatever `elites` is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evo.algorithms.base import AlgorithmState
from evo.algorithms.generational import Generational, GenerationalConfig
from evo.algorithms.population import PopulationAlgorithm
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.genome import Genome
from evo.operators.selection import Tournament
from fitness.adapter import AdapterStack
from fitness.checks import check_integer


@dataclass(frozen=True, kw_only=True)
class FrozenConfig(PopulationConfig):
    """Nothing at all: the founders live in every generation, and the first of them is reported, unchosen."""

    def assemble(self, materials: Materials, ids: Ids) -> "Frozen":
        """See `PopulationConfig.assemble`."""
        return Frozen(self, materials, ids)


class Frozen(PopulationAlgorithm):
    """The founders for ever, in the order of their birth."""

    adopts = False

    def elites(self) -> list[Genome]:
        """Return nobody."""
        return []

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the founders."""
        return list(self._members.values())

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return them all."""
        return [self._members[id_] for id_ in candidates]


@dataclass(frozen=True, kw_only=True)
class BestOfNConfig(PopulationConfig):
    """N founders are drawn once; every generation tests all of them again, and the best mean is reported."""

    def assemble(self, materials: Materials, ids: Ids) -> "BestOfN":
        """See `PopulationConfig.assemble`."""
        return BestOfN(self, materials, ids)


class BestOfN(Frozen):
    """The founders for ever, the best first."""

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return them all, the best first."""
        ranked = self._standing.rank(candidates, len(candidates))
        return [self._members[id_] for id_ in (*ranked, *(id_ for id_ in candidates if id_ not in ranked))]


@dataclass(frozen=True, kw_only=True)
class RandomSearchConfig(PopulationConfig):
    """New founders in every generation, mutated once, so that adapters are drawn at random too; the best are kept."""

    survivors: int = 1
    """Best members that are kept and tested again; at least 1."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave no search."""
        super().__post_init__()
        check_integer("survivors", self.survivors, 1, self.population - 1, "the population but one")

    def assemble(self, materials: Materials, ids: Ids) -> "RandomSearch":
        """See `PopulationConfig.assemble`."""
        return RandomSearch(self, materials, ids)


class RandomSearch(PopulationAlgorithm):
    """Nothing is inherited."""

    adopts = False

    def __init__(self, config: RandomSearchConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._kept = config.survivors

    def elites(self) -> list[Genome]:
        """Return nobody."""
        return []

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the best so far, and new founders with a mutated adapter each."""
        kept = list(self._members.values())
        founders = self._found(rng, self._numbers.population - len(kept))
        variation = self._materials.variation
        if not variation.adapter_mutation_rate:
            return kept + founders
        steps = np.full(len(founders), variation.founder_steps.adapter)
        stack = variation.adapter_mutation.mutate(AdapterStack.of([one.adapter for one in founders]), steps, rng)
        return kept + [replace(one, adapter=adapter) for one, adapter in zip(founders, stack, strict=True)]

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return the best."""
        return [self._members[id_] for id_ in self._standing.rank(candidates, self._kept)]


@dataclass(frozen=True, kw_only=True)
class LineagesConfig(PopulationConfig):
    """Founders that are tuned and never chosen: fine-tuning alone.

    All but `elites` of the population are lineages, at least one is not, and the first `elites` of them are tuned; with
    twice as many members as elites, all are. The first lineage is reported.
    """

    def assemble(self, materials: Materials, ids: Ids) -> "Lineages":
        """See `PopulationConfig.assemble`."""
        return Lineages(self, materials, ids)


class Lineages(Frozen):
    """Founders and what training makes of them; a tuned child that is not worse takes its parent's place."""

    adopts = True

    def elites(self) -> list[Genome]:
        """Return those who are tuned, in the order of their founders' birth."""
        return self.survivors()[: self._numbers.elites]

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return every lineage's latest, and the tuned."""
        return [*self._members.values(), *self._waiting.values()]

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return every lineage's latest, in the order of their founders' birth."""
        places = {id_: place for place, id_ in enumerate(self._members)}
        places |= {child: places[parent] for parent, child in self._pairs.items()}
        lineages = self._numbers.population - max(1, self._numbers.elites)
        return [self._members[id_] for id_ in sorted(candidates, key=places.__getitem__)[:lineages]]


@dataclass(frozen=True, kw_only=True)
class DriftConfig(GenerationalConfig):
    """The generational algorithm with all choices left to chance: who breeds, who survives and who is reported."""

    def assemble(self, materials: Materials, ids: Ids) -> "Drift":
        """See `PopulationConfig.assemble`."""
        return Drift(self, replace(materials, selection=Tournament(size=1)), ids)


class Drift(Generational):
    """(mu + lambda) in which lives decide nothing."""

    def __init__(self, config: DriftConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._fates: list[int] = []

    def _next(self, rng: np.random.Generator) -> list[Genome]:
        """Return the next generation, and draw who will survive it."""
        genomes = super()._next(rng)
        self._fates = [genomes[place].id for place in rng.permutation(len(genomes))]
        return genomes

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return the first mu in the order that was drawn."""
        drawn = [id_ for id_ in self._fates if id_ in candidates]
        return [self._members[id_] for id_ in drawn[: self._config.num_survivors]]

    def _own_state(self) -> AlgorithmState:
        """Return the order that was drawn."""
        return AlgorithmState({"fates": self._fates}, ())

    def _own_restore(self, data: Mapping[str, Any], genomes: Mapping[int, Genome]) -> None:
        """Become what `_own_state` described."""
        self._fates = list(data["fates"])
