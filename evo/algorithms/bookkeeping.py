"""The bookkeeping that algorithms share: the order of calls, who is asked, what is known of them, what is saved.

Owns `Bookkeeping`: running means (`Standing`), verdicts on children that stand beside their parents, and the saved
state. Does not own where genomes come from (`evo.algorithms.population`).
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evo.algorithms.base import Algorithm, AlgorithmState, Judgement, judge
from evo.algorithms.elites import HallOfFame
from evo.algorithms.inheritance import settle
from evo.algorithms.setting import Behaviours, Ids, Materials, PopulationConfig
from evo.algorithms.standing import Standing
from evo.genome import Evaluation, Genome, finite_vector, pack


class Bookkeeping(Algorithm):
    """Asks, is told, and remembers; an algorithm says who is next (`_next`) and who survives (`_survive`)."""

    def __init__(self, config: PopulationConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        self._numbers, self._materials, self._ids = config, materials, ids
        self.generation = 0
        """Number of the generation that is asked for next, or is under test; from 0."""
        self.lenient = False
        """Whether nothing at all may be known of a generation, for a part of a larger population."""
        self._asked = False
        self._members: dict[int, Genome] = {}  # asked: the population; told: the survivors, best first
        self._waiting: dict[int, Genome] = {}  # parent id -> its child, for the next ask
        self._guests: list[Genome] = []  # for the next ask
        self._pairs: dict[int, int] = {}  # parent id -> id of its child under test
        self._hall = HallOfFame(config.elites if config.elites_of == "hall_of_fame" else 0)
        self._standing = Standing()
        self._judgements: tuple[Judgement, ...] = ()

    @abstractmethod
    def _next(self, rng: np.random.Generator) -> list[Genome]:
        """Return the genomes of the next generation, with those of `_waiting` beside their parents."""

    @abstractmethod
    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return who survives, best first.

        Args:
            candidates: ids of those who were tested, without those whose tuned child, or parent, was better, and
                without tuned children where training is not inherited.
            behaviours: what each of those who were tested did.
        """

    def _known(self) -> Iterable[int]:
        """Return the ids of those who are remembered though they are not tested."""
        return ()

    def _own_state(self) -> AlgorithmState:
        """Return what an algorithm has beside this."""
        return AlgorithmState({}, ())

    def _own_restore(self, data: Mapping[str, Any], genomes: Mapping[int, Genome]) -> None:
        """Become what `_own_state` described."""

    @property
    def evaluations(self) -> Mapping[int, Evaluation]:
        """See `Algorithm.evaluations`."""
        return MappingProxyType(self._standing.evaluations)

    @property
    def scores(self) -> Mapping[int, float]:
        """Shrunken means in steps of life; see `Algorithm.scores`."""
        return MappingProxyType(self._standing.scores)

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """See `Algorithm.judgements`."""
        return self._judgements

    def ask(self, rng: np.random.Generator) -> list[Genome]:
        """Return the members of this generation; founders first of all. See `Algorithm.ask`."""
        if self._asked:
            raise RuntimeError("ask: expected tell() of the genomes already asked for, got another ask()")
        genomes = pack(self._next(rng))
        self._members = {genome.id: genome for genome in genomes}
        self._standing.admit([*self._members, *self._known(), *self._hall.members])
        self._pairs = {parent: child.id for parent, child in self._waiting.items()}
        if not {child.id for child in self._waiting.values()} <= self._members.keys():
            raise RuntimeError(f"ask: expected {type(self).__name__} to test every child that it adopted")
        self._waiting, self._guests, self._asked = {}, [], True
        return genomes

    def tell(self, lifespans: Mapping[int, ArrayLike], behaviours: Behaviours | None = None) -> None:
        """Merge the running means, judge the tuned, let the best survive. See `Algorithm.tell`."""
        if not self._asked:
            raise RuntimeError("tell: expected ask() first")
        lived = _check_lifespans(lifespans, self._members, self.lenient)
        counts = [np.count_nonzero(~np.isnan(values)) for values in lived.values()]
        weight = self._numbers.shrinkage * sum(counts) / len(counts)
        self._judgements = tuple(
            judge((parent, lived[parent]), (child, lived[child]), self._numbers.tolerance)
            for parent, child in self._pairs.items()
        )
        tuned = [child for child in self._pairs.values() if self._members[child].operator == "finetune"]
        settled = settle(self._numbers.inheritance, self._judgements, tuned)
        done = dict(behaviours or {})
        for child, parent in settled.lent:
            lived[parent] = lived[child]
            done |= {parent: done[child]} if child in done else {}
        self._standing.merge(lived)
        self._standing.score(weight, settled.apart)
        for child, parent in settled.heirs:
            self._standing.succeed(child, parent)
        self._standing.score(weight, settled.apart)
        kept = self._survive([id_ for id_ in self._members if id_ not in settled.leaving], done)
        self._hall.remember(self._members, settled.leaving, self._standing.rank)
        self._members = {genome.id: genome for genome in kept}
        self._pairs, self._asked = {}, False
        self.generation += 1

    def survivors(self) -> list[Genome]:
        """Return all of them. See `Algorithm.survivors`."""
        expect_told(self, "survivors")
        return list(self._members.values())

    def elites(self) -> list[Genome]:
        """Return the best survivors, or the hall of fame, `elites` of them. See `Algorithm.elites`."""
        survivors = self.survivors()
        return list(self._hall.members.values()) or survivors[: self._numbers.elites]

    def state(self) -> AlgorithmState:
        """Return everything needed to go on. See `Algorithm.state`."""
        own = self._own_state()
        data = {
            "generation": self.generation,
            "next_id": self._ids.next,
            "asked": self._asked,
            "members": list(self._members),
            "waiting": [[parent, child.id] for parent, child in self._waiting.items()],
            "guests": [guest.id for guest in self._guests],
            "pairs": list(map(list, self._pairs.items())),
            "hall": list(self._hall.members),
            "standing": self._standing.state(),
            "judgements": [asdict(verdict) for verdict in self._judgements],
            "own": dict(own.data),
        }
        held = (self._hall.members, self._members, self._waiting)
        everyone = (*own.genomes, *(genome for group in held for genome in group.values()), *self._guests)
        genomes = {genome.id: genome for genome in everyone}
        return AlgorithmState(data, tuple(genomes[id_] for id_ in sorted(genomes)))

    def restore(self, state: AlgorithmState) -> None:
        """Become what `state` describes. See `Algorithm.restore`."""
        data: Mapping[str, Any] = state.data
        genomes = {genome.id: genome for genome in state.genomes}
        self.generation, self._ids.next, self._asked = data["generation"], data["next_id"], data["asked"]
        self._members = {id_: genomes[id_] for id_ in data["members"]}
        self._waiting = {parent: genomes[child] for parent, child in data["waiting"]}
        self._guests = [genomes[id_] for id_ in data["guests"]]
        self._pairs = dict(map(tuple, data["pairs"]))
        self._hall.members = {id_: genomes[id_] for id_ in data["hall"]}
        self._standing.restore(data["standing"])
        self._judgements = tuple(Judgement(**verdict) for verdict in data["judgements"])
        self._own_restore(data["own"], genomes)


def expect_told(algorithm: Bookkeeping, call: str) -> None:
    """Raise unless the last genomes asked for were told of."""
    if algorithm._asked or not algorithm.generation:
        raise RuntimeError(f"{call}: expected tell() first")


def _check_lifespans(
    lifespans: Mapping[int, ArrayLike], members: Mapping[int, Genome], lenient: bool
) -> dict[int, NDArray[np.float64]]:
    """Return the lifespans as float64 vectors, in the order of the members."""
    if set(lifespans) != set(members):
        missing, unknown = sorted(set(members) - set(lifespans)), sorted(set(lifespans) - set(members))
        raise ValueError(f"lifespans: expected the genomes that were asked, got none of {missing}, and also {unknown}")
    lived = {id_: np.array(lifespans[id_], dtype=np.float64) for id_ in members}
    for id_, values in lived.items():
        finite_vector(f"lifespans of genome {id_}", np.where(np.isnan(values), 0.0, values))
    if not lenient and not any((~np.isnan(values)).any() for values in lived.values()):
        raise ValueError("lifespans: expected at least one episode that did not fail, got none")
    return lived
