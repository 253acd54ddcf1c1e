"""The generational (mu + lambda) algorithm.

Owns who survives a generation and who is in the next: mu survivors, which are tested again and keep a running mean;
tuned children of the elites, each beside its parent; and enough offspring (lambda) to make exactly `population`
members. Does not own how parents are chosen (`evo.operators.selection`) or how children are made
(`evo.operators.variation`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evo.algorithms.base import Algorithm, AlgorithmState, Judgement, judge
from evo.algorithms.breeding import choose_couples, found
from evo.algorithms.standing import Standing
from evo.genome import Evaluation, Genome, finite_vector, pack
from evo.operators.selection.base import Selection
from evo.operators.variation import Variation
from fitness.adapter import Adapter
from fitness.checks import check_integer, check_number
from fitness.environments.grammar import Grammar
from fitness.errors import ConfigError, StrategyError


@dataclass(frozen=True, kw_only=True)
class GenerationalConfig:
    """Numbers of the generational algorithm.

    Example: `GenerationalConfig(population=32, elites=4).build(grammar, initial, Tournament(size=3), Variation())`
    """

    population: int
    """Members tested in every generation, at least 2."""
    elites: int
    """Best survivors that are given to fine-tuning; 0 to `survivors`."""
    survivors: int | None = None
    """mu: members kept for the next generation, and its parents; survivors and their tuned children must fit into the
    population. None: a quarter of the population, but no fewer than `elites`."""
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
        if self.survivors is not None:
            check_integer("survivors", self.survivors, 1, self.population, "the population")
        if self.elites > self.num_survivors:
            raise ConfigError(f"elites: expected at most the {self.num_survivors} survivors, got {self.elites}")
        if self.elites + self.num_survivors > self.population:
            raise ConfigError(
                f"elites: expected room for {self.num_survivors} survivors and one tuned child for each elite in a "
                f"population of {self.population}, got {self.elites}"
            )
        check_number("shrinkage", self.shrinkage, 0.0)
        check_number("tolerance", self.tolerance, 0.0)
        if isinstance(self.strategies, str):
            raise ConfigError(f"strategies: expected a list of texts, got the text {self.strategies!r}")

    @property
    def num_survivors(self) -> int:
        """How many survive a generation (mu)."""
        return self.survivors if self.survivors is not None else max(self.elites, self.population // 4, 1)

    def build(self, grammar: Grammar, initial: Adapter, selection: Selection, variation: Variation) -> "Generational":
        """Return the algorithm, ready for generation 0.

        Args:
            grammar: of the environment; what strategies are made of.
            initial: every founder's adapter.
            selection: chooses parents among the survivors, by their scores.
            variation: makes children of them.

        Raises:
            StrategyError: a text of `strategies` does not follow the grammar.
        """
        return Generational(self, grammar=grammar, initial=initial, selection=selection, variation=variation)


class Generational(Algorithm):
    """(mu + lambda) with re-tested incumbents, shrunken means and Lamarckian children.

    *Survival.* The best mu by shrunken mean (`Standing`), where the prior weighs `shrinkage` times a generation's
    episodes.

    *Tuned children* are Lamarckian: their weights were changed in life and are inherited. Parent and child live the
    same seeds; unless the child is worse by more than `tolerance` standard errors of the paired difference, it takes
    the parent's place and the parent leaves. Its running mean starts with its own episodes, and its prior is the
    parent's score at that time instead of the population's mean: what replaces a well-tested genome is not treated as
    if nothing were known of it.
    """

    def __init__(
        self,
        config: GenerationalConfig,
        *,
        grammar: Grammar,
        initial: Adapter,
        selection: Selection,
        variation: Variation,
    ) -> None:
        """See `GenerationalConfig.build`."""
        self._config = config
        self._grammar = grammar
        self._initial = initial
        self._selection = selection
        self._variation = variation
        self._strategies = tuple(_parsed(grammar, text, i) for i, text in enumerate(config.strategies))
        self._generation = 0  # of the pending or the next ask
        self._next_id = 0
        self._asked = False
        self._members: dict[int, Genome] = {}  # asked: the population; told: the survivors, best first
        self._waiting: dict[int, Genome] = {}  # parent id -> tuned child, for the next ask
        self._pairs: dict[int, int] = {}  # parent id -> id of its tuned child under test
        self._standing = Standing()
        self._judgements: tuple[Judgement, ...] = ()

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
        """Return exactly `population` genomes: survivors best first, tuned children, offspring. See `Algorithm.ask`."""
        if self._asked:
            raise RuntimeError("ask: expected tell() of the genomes already asked for, got another ask()")
        genomes = pack(self._assemble(rng))
        self._members = {genome.id: genome for genome in genomes}
        self._standing.admit(self._members)
        self._pairs = {parent: child.id for parent, child in self._waiting.items()}
        self._waiting = {}
        self._asked = True
        return genomes

    def tell(self, lifespans: Mapping[int, ArrayLike]) -> None:
        """Merge the running means, judge the tuned, keep the best mu. See `Algorithm.tell`."""
        if not self._asked:
            raise RuntimeError("tell: expected ask() first")
        lived = _check_lifespans(lifespans, self._members)
        weight = self._config.shrinkage * max(len(values) for values in lived.values())
        self._standing.merge(lived)
        self._standing.score(weight)
        self._judgements = tuple(
            judge((parent, lived[parent]), (child, lived[child]), self._config.tolerance)
            for parent, child in self._pairs.items()
        )
        for verdict in self._judgements:
            if verdict.accepted:
                self._standing.succeed(verdict.child, verdict.parent)
        self._standing.score(weight)
        removed = {verdict.parent if verdict.accepted else verdict.child for verdict in self._judgements}
        kept = self._standing.rank((id_ for id_ in self._members if id_ not in removed), self._config.num_survivors)
        self._members = {id_: self._members[id_] for id_ in kept}
        self._pairs = {}
        self._asked = False
        self._generation += 1

    def survivors(self) -> list[Genome]:
        """Return all mu of them. See `Algorithm.survivors`."""
        self._expect_told("survivors")
        return list(self._members.values())

    def elites(self) -> list[Genome]:
        """Return the best survivors, `elites` of them. See `Algorithm.elites`."""
        return self.survivors()[: self._config.elites]

    def tuned(self, parent: int, adapter: Adapter) -> Genome:
        """Return a Lamarckian child, with the next id. See `Algorithm.tuned`."""
        self._expect_told("tuned")
        if parent not in self._members:
            raise ValueError(f"parent: expected one of the survivors {list(self._members)}, got {parent}")
        genome = self._members[parent]
        self._next_id += 1
        return Genome(
            id=self._next_id - 1,
            genes=genome.genes,
            adapter=adapter,
            step_sizes=genome.step_sizes,
            parents=(parent,),
            operator="finetune",
            born=self._generation,
        )

    def adopt(self, pairs: Sequence[tuple[int, Genome]]) -> None:
        """Queue tuned children for the next `ask`. See `Algorithm.adopt`."""
        self._expect_told("adopt")
        waiting = dict(self._waiting)
        for parent, child in pairs:
            if parent not in self._members or parent in waiting:
                free = [id_ for id_ in self._members if id_ not in waiting]
                raise ValueError(f"pairs: expected one child for each of the survivors {free}, got parent {parent}")
            taken = {other.id for other in waiting.values()} | set(self._standing.evaluations)
            if child.id in taken or not 0 <= child.id < self._next_id:
                raise ValueError(f"pairs: expected children made by tuned(), with new ids, got {child.id} for {parent}")
            waiting[parent] = child
        room = self._config.population - len(self._members)
        if len(waiting) > room:
            raise ValueError(f"pairs: expected room for {room} beside the survivors, got {len(waiting)}")
        self._waiting = waiting

    def state(self) -> AlgorithmState:
        """Return everything needed to go on. See `Algorithm.state`."""
        data = {
            "generation": self._generation,
            "next_id": self._next_id,
            "asked": self._asked,
            "members": list(self._members),
            "waiting": [[parent, child.id] for parent, child in self._waiting.items()],
            "pairs": list(map(list, self._pairs.items())),
            "standing": self._standing.state(),
            "judgements": [asdict(verdict) for verdict in self._judgements],
        }
        genomes = {**self._members, **{child.id: child for child in self._waiting.values()}}
        return AlgorithmState(data, tuple(genomes[id_] for id_ in sorted(genomes)))

    def restore(self, state: AlgorithmState) -> None:
        """Become what `state` describes. See `Algorithm.restore`."""
        data: Mapping[str, Any] = state.data
        genomes = {genome.id: genome for genome in state.genomes}
        self._generation, self._next_id, self._asked = data["generation"], data["next_id"], data["asked"]
        self._members = {id_: genomes[id_] for id_ in data["members"]}
        self._waiting = {parent: genomes[child] for parent, child in data["waiting"]}
        self._pairs = dict(map(tuple, data["pairs"]))
        self._standing.restore(data["standing"])
        self._judgements = tuple(Judgement(**verdict) for verdict in data["judgements"])

    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the founders; later the survivors, the tuned and as many offspring as there is room for."""
        if not self._generation:
            self._next_id = self._config.population
            steps = self._variation.founder_steps
            return found(self._next_id, self._strategies, self._initial, steps, self._grammar, rng)
        survivors, tuned = list(self._members.values()), list(self._waiting.values())
        count = self._config.population - len(survivors) - len(tuned)
        pool = self._standing.pool([genome.id for genome in survivors])
        couples = choose_couples(survivors, pool, count, self._variation, self._selection, rng)
        self._standing.bear([parent.id for parent in couple] for couple in couples)
        offspring = self._variation.breed(couples, self._next_id, self._generation, self._grammar, rng, survivors)
        self._next_id += count
        return survivors + tuned + offspring

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
