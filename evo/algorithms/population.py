"""Populations: genomes that descend from founders by breeding, training and writing.

Owns `PopulationAlgorithm`, from which most algorithms derive; each says whom to test next (`_assemble`) and who
survives (`_survive`). Does not own the order of calls or the running means (`evo.algorithms.bookkeeping`).
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from evo.algorithms.bookkeeping import Bookkeeping, expect_told
from evo.algorithms.breeding import choose_couples, found
from evo.algorithms.setting import Ids, Materials, PopulationConfig
from evo.genome import Genome
from evo.operators.selection.base import Pool, Selection
from fitness.adapter import Adapter
from fitness.environments.grammar import Grammar
from fitness.errors import StrategyError

_TRIES = 5
"""How often a child that is a copy of a known genome is made anew, as a mutant of its first parent; then it is left to
the gate (`evo.trials`)."""


class PopulationAlgorithm(Bookkeeping):
    """A population of which some survive.

    *Tuned children* are Lamarckian, unless `inheritance` says otherwise: their weights were changed in life and are
    inherited. Parent and child live the same seeds; unless the child is worse by more than `tolerance` standard errors
    of the paired difference, it takes the parent's place and the parent leaves. Its running mean starts with its own
    episodes, and its prior is the parent's score at that time instead of the population's mean: what replaces a
    well-tested genome is not treated as if nothing were known of it.
    """

    def __init__(self, config: PopulationConfig, materials: Materials, ids: Ids) -> None:
        """See `PopulationConfig.build`."""
        super().__init__(config, materials, ids)
        self._strategies = tuple(_parsed(materials.grammar, text, i) for i, text in enumerate(config.strategies))

    def _next(self, rng: np.random.Generator) -> list[Genome]:
        """Return founders, and later what the algorithm wants."""
        return self._assemble(rng) if self.generation else self._found(rng)

    @abstractmethod
    def _assemble(self, rng: np.random.Generator) -> list[Genome]:
        """Return the genomes of the next generation, in generation 1 and later; `_waiting` with their parents, too."""

    def tuned(self, parent: int, adapter: Adapter) -> Genome:
        """Return a child with the weights of training, with the next id. See `Algorithm.tuned`."""
        return replace(self._child(parent, "finetune"), adapter=adapter)

    def rewritten(self, parent: int, genes: tuple[str, ...]) -> Genome:
        """Return a child with other genes, with the next id. See `Algorithm.rewritten`."""
        return replace(self._child(parent, "reflection"), genes=genes)

    def adopt(self, pairs: Sequence[tuple[int, Genome]]) -> None:
        """Queue tuned children for the next `ask`, and parents that have left. See `Algorithm.adopt`."""
        expect_told(self, "adopt")
        waiting, parents = dict(self._waiting), self._hall.members | self._members
        for parent, child in pairs:
            if parent not in parents or parent in waiting:
                free = [id_ for id_ in parents if id_ not in waiting]
                raise ValueError(f"pairs: expected one child for each of the survivors {free}, got parent {parent}")
            taken = {other.id for other in waiting.values()} | set(self._standing.evaluations)
            if child.id in taken or not 0 <= child.id < self._ids.next:
                raise ValueError(f"pairs: expected children made by tuned(), with new ids, got {child.id} for {parent}")
            waiting[parent] = child
        returning = [parents[parent] for parent, _ in pairs if parent not in self._members]
        if len(pairs) + len(returning) > self.room:
            raise ValueError(f"pairs: expected room for {self.room} beside the survivors, got {len(pairs)}")
        self._waiting, self._guests = waiting, self._guests + returning

    @property
    def room(self) -> int:
        """How many children still fit into the next generation, beside their parents. See `Algorithm.room`."""
        if not self.adopts:
            return 0
        return self._numbers.population - len(self._members) - len(self._guests) - len(self._waiting)

    def welcome(self, migrants: Sequence[Genome]) -> None:
        """Have clones of others' survivors tested in the next generation, with ids of their own.

        Raises:
            RuntimeError: called before the generation's `tell`.
        """
        expect_told(self, "welcome")
        self._guests += [
            replace(genome, id=self._ids.take(), parents=(genome.id,), operator="migration", born=self.generation)
            for genome in migrants
        ]

    def _found(self, rng: np.random.Generator, count: int | None = None) -> list[Genome]:
        """Return `count` founders, a population of them if not said."""
        count = self._numbers.population if count is None else count
        made, steps = self._materials, self._materials.variation.founder_steps
        genomes = found(count, self._strategies, made.initial, steps, made.grammar, rng)
        first = self._ids.take(count)
        return [replace(genome, id=first + genome.id, born=self.generation) for genome in genomes]

    def _breed(
        self,
        parents: Sequence[Genome],
        pool: Pool,
        count: int,
        rng: np.random.Generator,
        selection: Selection | None = None,
    ) -> list[Genome]:
        """Return `count` children of those whom `selection` (None: the run's) chooses among `parents`.

        Where there is a screen, more are bred, and it says which of them live.
        """
        variation, grammar = self._materials.variation, self._materials.grammar
        chooses = selection or self._materials.selection
        screen = self._materials.support.screen
        wanted = screen.wanted(count) if screen else count
        couples = choose_couples(parents, pool, wanted, variation, chooses, rng)
        support = replace(self._materials.support, known=tuple(self._members.values()))
        first = self._ids.take(count)
        children = variation.breed(couples, first, self.generation, grammar, rng, support)
        for _ in range(_TRIES):
            copies = _copies(children, support.is_known)
            if not copies:
                break
            others = variation.breed([couples[i][:1] for i in copies], 0, self.generation, grammar, rng, support)
            for place, other in zip(copies, others, strict=True):
                children[place] = replace(other, id=first + place)
        living = screen.keep(children, first, count) if screen else range(count)
        self._standing.bear([parent.id for parent in couples[i]] for i in living)
        return [replace(children[i], id=first + place) for place, i in enumerate(living)]

    def _child(self, parent: int, operator: str) -> Genome:
        """Return a copy of a survivor, with the next id, for something to be changed in it."""
        expect_told(self, operator)
        parents = self._hall.members | self._members
        if parent not in parents:
            raise ValueError(f"parent: expected one of the survivors {list(parents)}, got {parent}")
        return replace(parents[parent], id=self._ids.take(), parents=(parent,), operator=operator, born=self.generation)


def _copies(children: Sequence[Genome], is_known: Callable[[Genome], bool] | None) -> list[int]:
    """Return the places of children that are copies of a known genome, or of a sibling before them."""
    if is_known is None:
        return []
    marks = [(child.genes, child.adapter.digest()) for child in children]
    return [i for i, child in enumerate(children) if is_known(child) or marks.index(marks[i]) < i]


def _parsed(grammar: Grammar, text: str, index: int) -> tuple[str, ...]:
    """Return the genes of a founder's strategy, or say which text is none."""
    try:
        return grammar.parse(text)
    except StrategyError as error:
        raise StrategyError(f"algorithm.strategies[{index}]: {error}") from error
