"""Founders, and who mates with whom: steps that most algorithms share.

Owns the pairing of parents. Does not own how a couple's child is made (`evo.operators.variation`).
"""

from collections.abc import Sequence

import numpy as np

from evo.genome import Genome, StepSizes
from evo.operators.selection.base import Pool, Selection
from evo.operators.variation import Couple, Variation
from fitness.adapter import Adapter
from fitness.environments.grammar import Grammar


def found(
    count: int,
    strategies: Sequence[tuple[str, ...]],
    initial: Adapter,
    step_sizes: StepSizes,
    grammar: Grammar,
    rng: np.random.Generator,
) -> list[Genome]:
    """Return the founders, with ids from 0.

    Args:
        count: how many.
        strategies: their genes, used in turn; empty: each founder's are drawn from the grammar.
        initial: the adapter of all of them.
        step_sizes: of all of them.
        grammar: slots and clauses of the strategies.
        rng: the only source of chance.
    """
    return [
        Genome(
            id=i,
            genes=strategies[i % len(strategies)] if strategies else grammar.random(rng),
            adapter=initial,
            step_sizes=step_sizes,
        )
        for i in range(count)
    ]


def choose_couples(
    parents: Sequence[Genome],
    pool: Pool,
    count: int,
    variation: Variation,
    selection: Selection,
    rng: np.random.Generator,
) -> list[Couple]:
    """Return `count` couples: two different parents each with chance `variation.crossover_rate`, else one.

    Args:
        parents: who may breed, at least one.
        pool: what is known of them, in their order.
        count: how many couples.
        variation: what will make their children; with a single parent there are no couples of two, and the fitter of
            two comes first where its adapter crossover is `ordered`.
        selection: chooses first parents, and their mates.
        rng: the only source of chance.
    """
    if not count:
        return []
    firsts = selection.choose(pool, count, rng).tolist()
    crossed = (rng.random(count) < variation.crossover_rate) & (len(parents) > 1)
    couples = [
        (first, selection.mate(pool, first, rng)) if cross else (first,)
        for first, cross in zip(firsts, crossed, strict=True)
    ]
    if variation.adapter_crossover.ordered:
        couples = [tuple(sorted(couple, key=lambda position: -pool.scores[position])) for couple in couples]
    return [tuple(parents[position] for position in couple) for couple in couples]
