"""Search distributions over adapters: a centre, and a cloud of adapters drawn around it.

Owns `CloudAlgorithm`: generation 0 tests founders like every algorithm; the best of them gives its strategy and its
adapter to the centre. From then on each generation tests the centre, which is what survives, and its cloud. An
algorithm says how the cloud is drawn (`_draw`) and where the centre goes (`_move`). Nobody is fine-tuned.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evo.algorithms.base import AlgorithmState
from evo.algorithms.population import PopulationAlgorithm
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.genome import Genome
from fitness.adapter import Adapter


class CloudAlgorithm(PopulationAlgorithm):
    """A centre that moves to where its cloud lives longer."""

    adopts = False

    def __init__(self, config: PopulationConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._centre: Genome | None = None

    @property
    def _size(self) -> int:
        """How many are drawn."""
        return self._numbers.population - 1

    @abstractmethod
    def _begin(self, adapter: Adapter, rng: np.random.Generator) -> Adapter:
        """Return the first centre, as near to `adapter` as the algorithm can be."""

    @abstractmethod
    def _draw(self, centre: Adapter, rng: np.random.Generator) -> list[Adapter]:
        """Return the cloud."""

    @abstractmethod
    def _move(self, centre: Adapter, drawn: Sequence[Adapter], cases: NDArray[np.float64]) -> Adapter:
        """Return the next centre.

        Args:
            centre: the last one.
            drawn: n adapters.
            cases: [n, m] fitness of each on each world.
        """

    def elites(self) -> list[Genome]:
        """Return nobody: a distribution is moved by its cloud alone."""
        return []

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the centre and its cloud."""
        (parent,) = self._members.values()
        if self._centre is None:
            self._centre = self._descend(parent, self._begin(parent.adapter, rng), "centre")
        drawn = self._draw(self._centre.adapter, rng)
        return [self._centre, *(self._descend(self._centre, adapter, "sample") for adapter in drawn)]

    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return the centre that was tested, and move it; of founders, the best."""
        if self._centre is None:
            return [self._members[self._standing.rank(candidates, 1)[0]]]
        tested, *cloud = self._members
        cases = self._standing.pool(cloud).cases
        moved = self._move(self._centre.adapter, [self._members[id_].adapter for id_ in cloud], cases)
        centre, self._centre = self._members[tested], self._descend(self._centre, moved, "centre", 1)
        return [centre]

    def _descend(self, parent: Genome, adapter: Adapter, operator: str, later: int = 0) -> Genome:
        """Return a genome with another adapter."""
        born = self.generation + later
        return replace(parent, id=self._ids.take(), adapter=adapter, parents=(parent.id,), operator=operator, born=born)

    def _own_state(self) -> AlgorithmState:
        """Return the centre."""
        if self._centre is None:
            return AlgorithmState({"centre": None}, ())
        return AlgorithmState({"centre": self._centre.id}, (self._centre,))

    def _own_restore(self, data: Mapping[str, Any], genomes: Mapping[int, Genome]) -> None:
        """Become what `_own_state` described."""
        self._centre = None if data["centre"] is None else genomes[data["centre"]]
