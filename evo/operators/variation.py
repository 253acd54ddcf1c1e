"""Variation: from couples to children, every operator in its order.

Owns the order (step sizes first, then crossover of both halves of the genome or a swap of whole halves, then mutation
of both with the new step sizes), the chances that an operator is used at all, and the names under which births are
recorded. Does not own who the parents are (`evo.operators.selection`) or any operator itself. To use another operator,
put it in one of the fields.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evo.genome import Genome, StepSizes
from evo.operators.adapter_crossover.base import AdapterCrossover
from evo.operators.adapter_crossover.exact import ExactCrossover
from evo.operators.adapter_mutation.base import AdapterMutation
from evo.operators.adapter_mutation.gaussian import GaussianMutation
from evo.operators.halves import divide
from evo.operators.step_sizes import LogNormalAdaptation
from evo.operators.strategy.author import Author, together
from evo.operators.strategy.base import Draft, StrategyCrossover, StrategyMutation
from evo.operators.strategy.clause_mutation import ClauseMutation
from evo.operators.strategy.segment_crossover import SegmentCrossover
from fitness.adapter import Adapter, AdapterStack, LoraSpec
from fitness.checks import check_number
from fitness.environments.grammar import Grammar

Couple = tuple[Genome, ...]
"""One parent (the child is its mutant) or two."""

Sense = Callable[[Sequence[str], AdapterStack], AdapterStack]
"""Strategies and adapters of P agents -> the sensitivity of every weight; see `evo.senses`."""

_TRIES = 20
"""How often a child that would be a copy of its parent is mutated again."""


class Screens(Protocol):
    """Says which children live, of more than there is room for; see `evo.screening`."""

    def wanted(self, count: int) -> int:
        """Return how many children are to be bred for `count` places."""

    def keep(self, children: Sequence[Genome], first_id: int, count: int) -> list[int]:
        """Return the places among `children` of the `count` that live, in order; they get ids from `first_id`."""


@dataclass(frozen=True, kw_only=True)
class Support:
    """What some operators need beside the parents."""

    known: Sequence[Genome] = ()
    """Genomes among which two parents may have a common ancestor; see `divide`."""
    sense: Sense | None = None
    """Measures how much weights matter, for operators that want to know; None: they do without."""
    is_known: Callable[[Genome], bool] | None = None
    """Tells whether a child is a copy of a genome before it, so that another is made; None: copies may be made."""
    author: Author | None = None
    """Who writes for operators that ask for texts; None: only operators that ask for none can be used."""
    screen: Screens | None = None
    """Says which children live; None: all that are bred."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Makes children. Every chance is from 0 to 1; at 0 that half of the genome never changes (an ablation)."""

    crossover_rate: float = 0.5
    """Share of children with two parents."""
    halves: float = 0.0
    """Share of these that take the genes of one parent and the adapter of the other, unmixed; see `divide`."""
    strategy_mutation_rate: float = 1.0
    """Chance that a child's strategy is given to the strategy mutation (which then draws slot by slot)."""
    adapter_mutation_rate: float = 0.5
    """Chance that a child's adapter gets noise."""
    strategy_step: float = 0.15
    """Founders' chance per slot of another clause; above 0, at most 1."""
    adapter_step: float = 0.1
    """Founders' adapter noise, relative to the module's own scale; above 0."""
    strategy_crossover: StrategyCrossover = field(default_factory=SegmentCrossover)
    strategy_mutation: StrategyMutation = field(default_factory=ClauseMutation)
    adapter_crossover: AdapterCrossover = field(default_factory=ExactCrossover)
    adapter_mutation: AdapterMutation = field(default_factory=GaussianMutation)
    adaptation: LogNormalAdaptation = field(default_factory=LogNormalAdaptation)
    """How step sizes are inherited."""

    def __post_init__(self) -> None:
        """Refuse chances that are none."""
        check_number("crossover_rate", self.crossover_rate, 0.0, 1.0)
        check_number("halves", self.halves, 0.0, 1.0)
        check_number("strategy_mutation_rate", self.strategy_mutation_rate, 0.0, 1.0)
        check_number("adapter_mutation_rate", self.adapter_mutation_rate, 0.0, 1.0)
        check_number("strategy_step", self.strategy_step, 1e-6, 1.0)
        check_number("adapter_step", self.adapter_step, 1e-9)

    @property
    def founder_steps(self) -> StepSizes:
        """Step sizes of generation 0."""
        return StepSizes(strategy=self.strategy_step, adapter=self.adapter_step)

    def breed(
        self,
        couples: Sequence[Couple],
        first_id: int,
        born: int,
        grammar: Grammar,
        rng: np.random.Generator,
        support: "Support | None" = None,
    ) -> list[Genome]:
        """Return one child per couple, with ids counted from `first_id`.

        A child of one parent is never a mere copy where a mutation is allowed at all: testing a copy teaches little.

        Args:
            couples: one or two parents each.
            first_id: id of the first child.
            born: generation in which the children are first tested.
            grammar: slots and clauses of the strategies.
            rng: the only source of chance.
            support: what some operators need beside the parents.

        Raises:
            ConfigError: an operator asks for a text, and there is no author.
        """
        if not couples:
            return []
        support = support or Support()
        num_slots, num_weights = len(grammar.slots), _count_weights(couples[0][0].adapter.spec)
        steps = [
            self.adaptation.inherit([p.step_sizes for p in couple], num_slots, num_weights, rng) for couple in couples
        ]
        sources = self._sources(couples, support.known, rng)
        drafts = [self._vary_genes(of, step, grammar, rng) for (of, _), step in zip(sources, steps, strict=True)]
        genes = together(drafts, support.author)
        noisy = rng.random(len(couples)) < self.adapter_mutation_rate
        same = [(made,) == tuple(p.genes for p in couple) for made, couple in zip(genes, couples, strict=True)]
        copies = np.flatnonzero(same & ~noisy).tolist()
        forced = together([self._force_change(couples[i][0], steps[i], grammar, rng) for i in copies], support.author)
        for i, changed in zip(copies, forced, strict=True):
            noisy[i] = changed == genes[i] and self.adapter_mutation_rate > 0
            genes[i] = changed
        adapters = self._cross_adapters([of for _, of in sources], rng)
        chosen = np.flatnonzero(noisy).tolist()
        if chosen:
            stack, sizes = AdapterStack.of([adapters[i] for i in chosen]), np.array([steps[i].adapter for i in chosen])
            texts = [grammar.render(genes[i]) for i in chosen]
            _place(self._mutate_adapters(stack, sizes, texts, support.sense, rng), adapters, chosen)
        made = zip(couples, sources, genes, adapters, steps, strict=True)
        return [
            Genome(
                id=first_id + i,
                genes=clauses,
                adapter=adapter,
                step_sizes=step,
                parents=tuple(parent.id for parent in couple),
                operator=_operator(couple, source),
                born=born,
            )
            for i, (couple, source, clauses, adapter, step) in enumerate(made)
        ]

    def _sources(
        self, couples: Sequence[Couple], known: Sequence[Genome], rng: np.random.Generator
    ) -> list[tuple[Couple, Couple]]:
        """Return whose genes and whose adapter each child is made of: both parents', or one half from each."""
        sources = [(couple, couple) for couple in couples]
        by_id = {genome.id: genome for genome in known}
        for i, couple in enumerate(couples if self.halves else ()):
            if len(couple) == 2 and rng.random() < self.halves and (givers := divide(*couple, by_id, rng)):
                sources[i] = (givers[:1], givers[1:])
        return sources

    def _vary_genes(self, couple: Couple, step: StepSizes, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Make a child's genes: crossed if there are two parents, then perhaps mutated."""
        genes = couple[0].genes
        if len(couple) == 2:
            genes = yield from self.strategy_crossover.crossing(genes, couple[1].genes, grammar, rng)
        if rng.random() < self.strategy_mutation_rate:
            genes = yield from self.strategy_mutation.mutating(genes, step.strategy, grammar, rng)
        return genes

    def _force_change(self, parent: Genome, step: StepSizes, grammar: Grammar, rng: np.random.Generator) -> Draft:
        """Make genes that differ from the parent's, if strategies may mutate and the grammar has others."""
        rate = max(step.strategy, 1.0 / len(grammar.slots))
        for _ in range(_TRIES if self.strategy_mutation_rate > 0 else 0):
            genes = yield from self.strategy_mutation.mutating(parent.genes, rate, grammar, rng)
            if genes != parent.genes:
                return genes
        return parent.genes

    def _cross_adapters(self, couples: Sequence[Couple], rng: np.random.Generator) -> list[Adapter]:
        """Return the children's adapters before mutation: all couples crossed in one batch."""
        adapters = [couple[0].adapter for couple in couples]
        crossed = [i for i, couple in enumerate(couples) if len(couple) == 2]
        if crossed:
            first = AdapterStack.of([couples[i][0].adapter for i in crossed])
            second = AdapterStack.of([couples[i][1].adapter for i in crossed])
            _place(self.adapter_crossover.cross(first, second, rng), adapters, crossed)
        return adapters

    def _mutate_adapters(
        self,
        stack: AdapterStack,
        step_sizes: NDArray[np.float64],
        strategies: Sequence[str],
        sense: Sense | None,
        rng: np.random.Generator,
    ) -> AdapterStack:
        """Return the mutants in one batch, in view of what each agent minds if the mutation asks for it."""
        if sense is None or not self.adapter_mutation.senses:
            return self.adapter_mutation.mutate(stack, step_sizes, rng)
        return self.adapter_mutation.mutate_sensed(stack, sense(strategies, stack), step_sizes, rng)


def _operator(couple: Couple, sources: tuple[Couple, Couple]) -> str:
    """Return the name under which a birth is recorded."""
    if len(couple) == 1:
        return "mutation"
    return "crossover+mutation" if sources[0] is couple else "halves+mutation"


def _place(stack: AdapterStack, adapters: list[Adapter], positions: Sequence[int]) -> None:
    """Put the members of `stack` at `positions` of `adapters`."""
    for adapter, position in zip(stack, positions, strict=True):
        adapters[position] = adapter


def _count_weights(spec: LoraSpec) -> int:
    """Return how many weights of B there are: what mutation moves."""
    return sum(spec.rank * fan_out for _, _, fan_out in spec.shapes)
