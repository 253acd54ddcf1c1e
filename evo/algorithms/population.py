"""The bookkeeping that algorithms share: who is asked, what is known of them, tuned children beside their parents.

Owns `PopulationConfig` and `PopulationAlgorithm`, which keep the order of calls, the running means (`Standing`), the
verdicts on tuned children and the saved state. An algorithm derives from both and says two things: whom to test next
(`_assemble`) and who survives (`_survive`).
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evo.algorithms.base import Algorithm, AlgorithmState, Judgement, judge
from evo.algorithms.breeding import choose_couples, found
from evo.algorithms.standing import Standing
from evo.genome import Evaluation, Genome, finite_vector, pack
from evo.operators.selection.base import Pool, Selection
from evo.operators.variation import Support, Variation
from fitness.adapter import Adapter
from fitness.checks import check_integer, check_number
from fitness.environments.grammar import Grammar
from fitness.errors import ConfigError, StrategyError

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

    population: int
    """Members tested in every generation, at least 2."""
    elites: int
    """Best survivors that are given to fine-tuning; at least 0."""
    shrinkage: float = 1.0
    """How far the mean of a little-tested genome is drawn to the population's, in generations of testing; 0 or more."""
    tolerance: float = 1.0
    """Standard errors by which a tuned child may be worse than its parent and still take its place; at least 0."""
    strategies: tuple[str, ...] = ()
    """Strategy texts of the founders, used in turn; empty: each founder's is drawn from the grammar."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave no population."""
        check_integer("population", self.population, 2)
        check_integer("elites", self.elites, 0, self.population, "the population")
        check_number("shrinkage", self.shrinkage, 0.0)
        check_number("tolerance", self.tolerance, 0.0)
        if isinstance(self.strategies, str):
            raise ConfigError(f"strategies: expected a list of texts, got the text {self.strategies!r}")

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


class PopulationAlgorithm(Algorithm):
    """A population of which some survive.

    *Tuned children* are Lamarckian: their weights were changed in life and are inherited. Parent and child live the
    same seeds; unless the child is worse by more than `tolerance` standard errors of the paired difference, it takes
    the parent's place and the parent leaves. Its running mean starts with its own episodes, and its prior is the
    parent's score at that time instead of the population's mean: what replaces a well-tested genome is not treated as
    if nothing were known of it.
    """

    def __init__(self, config: PopulationConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        self._numbers, self._materials, self._ids = config, materials, ids
        self._strategies = tuple(_parsed(materials.grammar, text, i) for i, text in enumerate(config.strategies))
        self._generation = 0  # of the pending or the next ask
        self._asked = False
        self._members: dict[int, Genome] = {}  # asked: the population; told: the survivors, best first
        self._waiting: dict[int, Genome] = {}  # parent id -> tuned child, for the next ask
        self._guests: list[Genome] = []  # for the next ask
        self._pairs: dict[int, int] = {}  # parent id -> id of its tuned child under test
        self._standing = Standing()
        self._judgements: tuple[Judgement, ...] = ()

    @abstractmethod
    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the genomes of the next generation, in generation 1 and later; `_waiting` with their parents, too."""

    @abstractmethod
    def _survive(self, candidates: Sequence[int], behaviours: Behaviours) -> list[Genome]:
        """Return who survives, best first.

        Args:
            candidates: ids of those who were tested, without those whose tuned child, or parent, was better.
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
    def generation(self) -> int:
        """Number of the generation that is asked for next, or is under test; from 0."""
        return self._generation

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
        genomes = pack(self._assemble(rng) if self._generation else self._found(rng))
        self._members = {genome.id: genome for genome in genomes}
        self._standing.admit([*self._members, *(id_ for id_ in self._known() if id_ not in self._members)])
        self._pairs = {parent: child.id for parent, child in self._waiting.items()}
        self._waiting, self._guests, self._asked = {}, [], True
        return genomes

    def tell(self, lifespans: Mapping[int, ArrayLike], behaviours: Behaviours | None = None) -> None:
        """Merge the running means, judge the tuned, let the best survive. See `Algorithm.tell`."""
        if not self._asked:
            raise RuntimeError("tell: expected ask() first")
        lived = _check_lifespans(lifespans, self._members)
        counts = [np.count_nonzero(~np.isnan(values)) for values in lived.values()]
        weight = self._numbers.shrinkage * sum(counts) / len(counts)
        self._standing.merge(lived)
        self._standing.score(weight)
        self._judgements = tuple(
            judge((parent, lived[parent]), (child, lived[child]), self._numbers.tolerance)
            for parent, child in self._pairs.items()
        )
        for verdict in self._judgements:
            if verdict.accepted:
                self._standing.succeed(verdict.child, verdict.parent)
        self._standing.score(weight)
        removed = {verdict.parent if verdict.accepted else verdict.child for verdict in self._judgements}
        kept = self._survive([id_ for id_ in self._members if id_ not in removed], behaviours or {})
        self._members = {genome.id: genome for genome in kept}
        self._pairs, self._asked = {}, False
        self._generation += 1

    def survivors(self) -> list[Genome]:
        """Return all of them. See `Algorithm.survivors`."""
        self._expect_told("survivors")
        return list(self._members.values())

    def elites(self) -> list[Genome]:
        """Return the best survivors, `elites` of them. See `Algorithm.elites`."""
        return self.survivors()[: self._numbers.elites]

    def tuned(self, parent: int, adapter: Adapter) -> Genome:
        """Return a Lamarckian child, with the next id. See `Algorithm.tuned`."""
        return replace(self._child(parent, "finetune"), adapter=adapter)

    def rewritten(self, parent: int, genes: tuple[str, ...]) -> Genome:
        """Return a child with other genes, with the next id. See `Algorithm.rewritten`."""
        return replace(self._child(parent, "reflection"), genes=genes)

    def adopt(self, pairs: Sequence[tuple[int, Genome]]) -> None:
        """Queue tuned children for the next `ask`. See `Algorithm.adopt`."""
        self._expect_told("adopt")
        waiting = dict(self._waiting)
        for parent, child in pairs:
            if parent not in self._members or parent in waiting:
                free = [id_ for id_ in self._members if id_ not in waiting]
                raise ValueError(f"pairs: expected one child for each of the survivors {free}, got parent {parent}")
            taken = {other.id for other in waiting.values()} | set(self._standing.evaluations)
            if child.id in taken or not 0 <= child.id < self._ids.next:
                raise ValueError(f"pairs: expected children made by tuned(), with new ids, got {child.id} for {parent}")
            waiting[parent] = child
        if len(pairs) > self.room:
            raise ValueError(f"pairs: expected room for {self.room} beside the survivors, got {len(pairs)}")
        self._waiting = waiting

    @property
    def room(self) -> int:
        """How many children still fit into the next generation, beside their parents. See `Algorithm.room`."""
        return self._numbers.population - len(self._members) - len(self._guests) - len(self._waiting)

    def welcome(self, migrants: Sequence[Genome]) -> None:
        """Have clones of others' survivors tested in the next generation, with ids of their own.

        Raises:
            RuntimeError: called before the generation's `tell`.
        """
        self._expect_told("welcome")
        self._guests += [
            replace(genome, id=self._ids.take(), parents=(genome.id,), operator="migration", born=self._generation)
            for genome in migrants
        ]

    def state(self) -> AlgorithmState:
        """Return everything needed to go on. See `Algorithm.state`."""
        own = self._own_state()
        data = {
            "generation": self._generation,
            "next_id": self._ids.next,
            "asked": self._asked,
            "members": list(self._members),
            "waiting": [[parent, child.id] for parent, child in self._waiting.items()],
            "guests": [guest.id for guest in self._guests],
            "pairs": list(map(list, self._pairs.items())),
            "standing": self._standing.state(),
            "judgements": [asdict(verdict) for verdict in self._judgements],
            "own": dict(own.data),
        }
        everyone = (*own.genomes, *self._members.values(), *self._waiting.values(), *self._guests)
        genomes = {genome.id: genome for genome in everyone}
        return AlgorithmState(data, tuple(genomes[id_] for id_ in sorted(genomes)))

    def restore(self, state: AlgorithmState) -> None:
        """Become what `state` describes. See `Algorithm.restore`."""
        data: Mapping[str, Any] = state.data
        genomes = {genome.id: genome for genome in state.genomes}
        self._generation, self._ids.next, self._asked = data["generation"], data["next_id"], data["asked"]
        self._members = {id_: genomes[id_] for id_ in data["members"]}
        self._waiting = {parent: genomes[child] for parent, child in data["waiting"]}
        self._guests = [genomes[id_] for id_ in data["guests"]]
        self._pairs = dict(map(tuple, data["pairs"]))
        self._standing.restore(data["standing"])
        self._judgements = tuple(Judgement(**verdict) for verdict in data["judgements"])
        self._own_restore(data["own"], genomes)

    def _found(self, rng: np.random.Generator, count: int | None = None) -> list[Genome]:
        """Return `count` founders, a population of them if not said."""
        count = self._numbers.population if count is None else count
        made, steps = self._materials, self._materials.variation.founder_steps
        genomes = found(count, self._strategies, made.initial, steps, made.grammar, rng)
        first = self._ids.take(count)
        return [replace(genome, id=first + genome.id, born=self._generation) for genome in genomes]

    def _breed(
        self,
        parents: Sequence[Genome],
        pool: Pool,
        count: int,
        rng: np.random.Generator,
        selection: Selection | None = None,
    ) -> list[Genome]:
        """Return `count` children of those whom `selection` (None: the run's) chooses among `parents`."""
        variation, grammar = self._materials.variation, self._materials.grammar
        chooses = selection or self._materials.selection
        couples = choose_couples(parents, pool, count, variation, chooses, rng)
        self._standing.bear([parent.id for parent in couple] for couple in couples)
        support = replace(self._materials.support, known=tuple(self._members.values()))
        children = variation.breed(couples, self._ids.next, self._generation, grammar, rng, support)
        self._ids.take(count)
        return children

    def _child(self, parent: int, operator: str) -> Genome:
        """Return a copy of a survivor, with the next id, for something to be changed in it."""
        self._expect_told(operator)
        if parent not in self._members:
            raise ValueError(f"parent: expected one of the survivors {list(self._members)}, got {parent}")
        return replace(
            self._members[parent], id=self._ids.take(), parents=(parent,), operator=operator, born=self._generation
        )

    def _expect_told(self, call: str) -> None:
        """Raise unless the last genomes asked for were told of."""
        if self._asked or not self._generation:
            raise RuntimeError(f"{call}: expected tell() first")


def _check_lifespans(
    lifespans: Mapping[int, ArrayLike], members: Mapping[int, Genome]
) -> dict[int, NDArray[np.float64]]:
    """Return the lifespans as float64 vectors, in the order of the members."""
    if set(lifespans) != set(members):
        missing, unknown = sorted(set(members) - set(lifespans)), sorted(set(lifespans) - set(members))
        raise ValueError(f"lifespans: expected the genomes that were asked, got none of {missing}, and also {unknown}")
    lived = {id_: np.array(lifespans[id_], dtype=np.float64) for id_ in members}
    for id_, values in lived.items():
        finite_vector(f"lifespans of genome {id_}", np.where(np.isnan(values), 0.0, values))
    if not any((~np.isnan(values)).any() for values in lived.values()):
        raise ValueError("lifespans: expected at least one episode that did not fail, got none")
    return lived


def _parsed(grammar: Grammar, text: str, index: int) -> tuple[str, ...]:
    """Return the genes of a founder's strategy, or say which text is none."""
    try:
        return grammar.parse(text)
    except StrategyError as error:
        raise StrategyError(f"algorithm.strategies[{index}]: {error}") from error
