"""Couples: two different parents where that is asked for, the fitter first where the crossover needs to know."""

import numpy as np
import pytest

from evo.algorithms.breeding import choose_couples
from evo.genome import Genome
from evo.operators.adapter_crossover import ExtrapolateCrossover
from evo.operators.selection import Tournament
from evo.operators.selection.base import Pool
from evo.operators.variation import Variation
from tests.evo.samples import genome

PARENTS = [genome(i) for i in range(6)]
SCORES = np.array([3.0, 9.0, 1.0, 5.0, 5.0, 7.0])
POOL = Pool(scores=SCORES, cases=SCORES[:, None], children=np.zeros(6, np.int64))


def couples(variation: Variation, parents: list[Genome] = PARENTS, count: int = 200) -> list[tuple[int, ...]]:
    pool = POOL if parents is PARENTS else Pool(scores=SCORES[:1], cases=SCORES[:1, None], children=POOL.children[:1])
    made = choose_couples(parents, pool, count, variation, Tournament(size=2), np.random.default_rng(0))
    return [tuple(parent.id for parent in couple) for couple in made]


def test_the_fitter_parent_comes_first_where_the_crossover_asks_for_it() -> None:
    plain, ordered = couples(Variation()), couples(Variation(adapter_crossover=ExtrapolateCrossover()))
    assert [sorted(couple) for couple in plain] == [sorted(couple) for couple in ordered]
    pairs = [couple for couple in ordered if len(couple) == 2]
    assert all(SCORES[first] >= SCORES[second] for first, second in pairs)
    assert any(SCORES[couple[0]] < SCORES[couple[-1]] for couple in plain)


def test_equals_keep_their_order() -> None:
    ties = [couple for couple in couples(Variation(crossover_rate=1.0)) if set(couple) == {3, 4}]
    ordered = couples(Variation(crossover_rate=1.0, adapter_crossover=ExtrapolateCrossover()))
    assert len(set(ties)) == 2
    assert [couple for couple in ordered if set(couple) == {3, 4}] == ties


@pytest.mark.parametrize(("rate", "sizes"), [(0.0, {1}), (1.0, {2}), (0.5, {1, 2})])
def test_as_many_have_two_parents_as_asked(rate: float, sizes: set[int]) -> None:
    made = couples(Variation(crossover_rate=rate))
    assert {len(couple) for couple in made} == sizes
    assert all(len(set(couple)) == len(couple) for couple in made)


def test_nobody_mates_alone() -> None:
    assert set(couples(Variation(crossover_rate=1.0), PARENTS[:1])) == {(0,)}
    assert couples(Variation(), count=0) == []
