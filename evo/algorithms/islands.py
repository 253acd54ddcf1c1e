"""Islands: populations apart, between which a few migrate.

Owns the archipelago; each island is a generational algorithm of its own, with its own survivors and running means. Ids
are counted for all of them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evo.algorithms.base import Algorithm, AlgorithmState, Judgement
from evo.algorithms.generational import Generational, GenerationalConfig
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.genome import Evaluation, Genome, pack
from fitness.adapter import Adapter
from fitness.checks import check_integer
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class IslandsConfig(PopulationConfig):
    """Numbers of the archipelago (Whitley, Rana and Heckendorn 1999); `survivors` and `lifetime` are each island's.

    Example: `IslandsConfig(population=32, elites=4, islands=4, every=5, migrants=1)`
    """

    whose = ("survivors", "hall_of_fame", "islands")

    elites_of: str = "islands"
    """As for every algorithm; a hall of fame is each island's own. "survivors": the best of all islands, as many of
    each as find places there."""
    islands: int = 4
    """How many, at least 2; the population and the elites are divided among them."""
    every: int = 5
    """Generations between two migrations, at least 1."""
    migrants: int = 1
    """Best survivors of each island of which a clone goes to the next, at least 0."""
    survivors: int | None = None
    """Of each island."""
    lifetime: int | None = None
    """Of each genome."""

    def __post_init__(self) -> None:
        """Refuse islands of different sizes."""
        super().__post_init__()
        check_integer("islands", self.islands, 2)
        check_integer("every", self.every, 1)
        check_integer("migrants", self.migrants, 0)
        if self.population < 2 * self.islands:
            raise ConfigError(f"islands: expected two members each of {self.population}, got {self.islands} islands")
        for island in self.each:
            room = island.population - island.num_survivors - island.places
            if self.migrants > min(room, island.num_survivors):
                raise ConfigError(
                    f"migrants: expected room beside {island.num_survivors} survivors and {island.elites} tuned "
                    f"children on an island of {island.population}, got {self.migrants}"
                )

    @property
    def each(self) -> tuple[GenerationalConfig, ...]:
        """Numbers of every island; the first have one member, or one elite, more, where parts are not equal."""
        members, elites = (_parts(total, self.islands) for total in (self.population, self.elites))
        return tuple(
            GenerationalConfig(
                population=population,
                elites=tuned,
                shrinkage=self.shrinkage,
                tolerance=self.tolerance,
                strategies=self.strategies,
                elites_of="hall_of_fame" if self.elites_of == "hall_of_fame" else "survivors",
                inheritance=self.inheritance,
                survivors=self.survivors,
                lifetime=self.lifetime,
            )
            for population, tuned in zip(members, elites, strict=True)
        )

    @property
    def hosts(self) -> tuple[int, ...]:
        """How many tuned children find places on each island, beside its survivors, migrants and newborn."""
        newborn = self.migrants + (self.lifetime is not None)
        return tuple(one.population - one.num_survivors - newborn for one in self.each)

    def assemble(self, materials: Materials, ids: Ids) -> "Islands":
        """See `PopulationConfig.assemble`."""
        return Islands(self, materials, ids)


class Islands(Algorithm):
    """Generational algorithms on a ring.

    Every `every` generations, clones of each island's best go to the next island, where they are tested like newborn:
    what an island knows of a genome is what it saw itself.
    """

    def __init__(self, config: IslandsConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        self._config = config
        self._islands = [Generational(island, materials, ids) for island in config.each]
        for island in self._islands:
            island.lenient = True
        self._home: dict[int, int] = {}  # id -> island, of those asked or surviving

    def ask(self, rng: np.random.Generator) -> list[Genome]:
        """Return the members of all islands, one island after the other. See `Algorithm.ask`."""
        asked = [island.ask(rng) for island in self._islands]
        self._home = {id_: place for place, island in enumerate(self._islands) for id_ in island.evaluations}
        return pack([genome for group in asked for genome in group])

    def tell(self, lifespans: Mapping[int, ArrayLike], behaviours: Behaviours | None = None) -> None:
        """Tell every island of its own; let the best migrate when it is time. See `Algorithm.tell`."""
        unknown = sorted(set(lifespans) - set(self._home))
        if unknown:
            raise ValueError(f"lifespans: expected the genomes that were asked, got also {unknown}")
        if lifespans and all(np.isnan(np.asarray(values, np.float64)).all() for values in lifespans.values()):
            raise ValueError("lifespans: expected at least one episode that did not fail, got none")
        for place, island in enumerate(self._islands):
            own = {id_: values for id_, values in lifespans.items() if self._home[id_] == place}
            island.tell(own, behaviours)
        if self._islands[0].generation % self._config.every == 0:
            leaving = [island.survivors()[: self._config.migrants] for island in self._islands]
            for place, migrants in enumerate(leaving):
                self._islands[(place + 1) % len(self._islands)].welcome(migrants)

    def survivors(self) -> list[Genome]:
        """Return those of all islands, best first. See `Algorithm.survivors`."""
        return self._ranked([island.survivors() for island in self._islands])

    def elites(self) -> list[Genome]:
        """Return each island's, or the best of all, best first. See `Algorithm.elites`."""
        if self._config.elites_of != "survivors":
            return self._ranked([island.elites() for island in self._islands])
        hosts = zip(self._islands, self._config.hosts, strict=True)
        return self._ranked([island.survivors()[:most] for island, most in hosts])[: self._config.elites]

    def tuned(self, parent: int, adapter: Adapter) -> Genome:
        """Return a child of one island. See `Algorithm.tuned`."""
        return self._islands[self._home.get(parent, 0)].tuned(parent, adapter)

    def rewritten(self, parent: int, genes: tuple[str, ...]) -> Genome:
        """Return a child of one island. See `Algorithm.rewritten`."""
        return self._islands[self._home.get(parent, 0)].rewritten(parent, genes)

    @property
    def room(self) -> int:
        """How many children fit even if all parents are of one island. See `Algorithm.room`."""
        return min(island.room for island in self._islands)

    def adopt(self, pairs: Sequence[tuple[int, Genome]]) -> None:
        """Queue each child on its parent's island. See `Algorithm.adopt`."""
        for place, island in enumerate(self._islands):
            island.adopt([pair for pair in pairs if self._home.get(pair[0], 0) == place])

    @property
    def evaluations(self) -> Mapping[int, Evaluation]:
        """See `Algorithm.evaluations`."""
        return {id_: known for island in self._islands for id_, known in island.evaluations.items()}

    @property
    def scores(self) -> Mapping[int, float]:
        """See `Algorithm.scores`."""
        return {id_: score for island in self._islands for id_, score in island.scores.items()}

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """See `Algorithm.judgements`."""
        return tuple(verdict for island in self._islands for verdict in island.judgements)

    def state(self) -> AlgorithmState:
        """Return the islands' states. See `Algorithm.state`."""
        states = [island.state() for island in self._islands]
        genomes = {genome.id: genome for state in states for genome in state.genomes}
        data = {
            "islands": [dict(state.data) for state in states],
            "genomes": [[genome.id for genome in state.genomes] for state in states],
            "home": list(map(list, self._home.items())),
        }
        return AlgorithmState(data, tuple(genomes[id_] for id_ in sorted(genomes)))

    def restore(self, state: AlgorithmState) -> None:
        """Become what `state` describes. See `Algorithm.restore`."""
        data: Mapping[str, Any] = state.data
        genomes = {genome.id: genome for genome in state.genomes}
        for island, own, ids in zip(self._islands, data["islands"], data["genomes"], strict=True):
            island.restore(AlgorithmState(own, tuple(genomes[id_] for id_ in ids)))
        self._home = dict(map(tuple, data["home"]))

    def _ranked(self, groups: Sequence[Sequence[Genome]]) -> list[Genome]:
        """Return all of them, best first; ties by id."""
        scores = self.scores
        return sorted((one for group in groups for one in group), key=lambda one: (-scores[one.id], one.id))


def _parts(total: int, parts: int) -> list[int]:
    """Return whole numbers that differ by at most one and sum to `total`."""
    return [total // parts + (place < total % parts) for place in range(parts)]
