"""Swapping whole halves: the strategy of one parent, the adapter of the other, and both changes where each made one."""

from dataclasses import replace

import numpy as np
import pytest

from evo.genome import Genome
from evo.operators.halves import divide
from evo.operators.variation import Couple, Support, Variation
from fitness.adapter import Adapter
from fitness.errors import ConfigError
from tests.evo.samples import GRAMMAR, genome, random_adapter

PURE = Variation(halves=1.0, strategy_mutation_rate=0.0, adapter_mutation_rate=0.0)
ONE, TWO = genome(0, adapter=random_adapter(0)), genome(1, adapter=random_adapter(1))
ANCESTOR = genome(5, adapter=random_adapter(5))


def breed(variation: Variation, couples: list[Couple], known: tuple[Genome, ...] = (), seed: int = 0) -> list[Genome]:
    return variation.breed(couples, 10, 3, GRAMMAR, np.random.default_rng(seed), Support(known=known))


def child_of(parent: Genome, id_: int, genes: tuple[str, ...] | None = None, adapter: Adapter | None = None) -> Genome:
    """Return a child with its parent's halves but for those that are given."""
    return replace(parent, id=id_, genes=genes or parent.genes, adapter=adapter or parent.adapter, parents=(parent.id,))


def givers(first: Genome, second: Genome, *known: Genome) -> set[tuple[int, int]]:
    """Return the ids of who may give genes and adapter, over many draws."""
    by_id = {one.id: one for one in known}
    drawn = [divide(first, second, by_id, np.random.default_rng(seed)) for seed in range(40)]
    return {(one[0].id, one[1].id) for one in drawn if one}


def test_halves_come_whole_and_from_both() -> None:
    children = breed(PURE, [(ONE, TWO)] * 200)
    made = [(child.genes, child.adapter.digest()) for child in children]
    mixed = {(ONE.genes, TWO.adapter.digest()), (TWO.genes, ONE.adapter.digest())}
    assert set(made) == mixed
    assert 60 < made.count(next(iter(mixed))) < 140
    assert {(child.operator, child.parents) for child in children} == {("halves+mutation", (0, 1))}


def test_only_a_share_is_swapped() -> None:
    operators = [child.operator for child in breed(replace(PURE, halves=0.25), [(ONE, TWO)] * 400)]
    assert operators.count("halves+mutation") == pytest.approx(100, abs=30)
    assert set(operators) == {"halves+mutation", "crossover+mutation"}


def test_off_nothing_is_drawn_for_it() -> None:
    """The default is the run that it was: the children do not depend on who is known."""
    sisters = child_of(ANCESTOR, 6, genes=ONE.genes), child_of(ANCESTOR, 7, adapter=random_adapter(7))
    plain, told = breed(Variation(), [sisters, (ONE,)]), breed(Variation(), [sisters, (ONE,)], (ANCESTOR, *sisters))
    assert [child.record() for child in plain] == [child.record() for child in told]
    assert [child.operator for child in plain] == ["crossover+mutation", "mutation"]


def test_children_of_one_are_left_alone() -> None:
    assert [child.operator for child in breed(Variation(halves=1.0), [(ONE,)])] == ["mutation"]


def test_parents_that_share_a_half_are_mixed_as_usual() -> None:
    """Swapped, they would give a copy."""
    for other in (child_of(ONE, 8, adapter=TWO.adapter), child_of(ONE, 8, genes=TWO.genes)):
        assert givers(ONE, other) == set()
        assert breed(PURE, [(ONE, other)])[0].operator == "crossover+mutation"


def test_who_changed_a_half_since_the_common_ancestor_gives_it() -> None:
    bold, tuned = child_of(ANCESTOR, 6, genes=ONE.genes), child_of(ANCESTOR, 7, adapter=random_adapter(7))
    assert givers(bold, tuned, ANCESTOR) == {(6, 7)}
    assert givers(tuned, bold, ANCESTOR) == {(6, 7)}
    assert givers(bold, tuned) == {(6, 7), (7, 6)}  # nobody remembers the ancestor
    (child,) = breed(PURE, [(tuned, bold)], (ANCESTOR, tuned, bold))
    assert (child.genes, child.adapter.digest()) == (bold.genes, tuned.adapter.digest())


def test_one_half_may_settle_both() -> None:
    """Both changed their adapters, one alone its genes: it gives those, and the other the adapter."""
    both = child_of(ANCESTOR, 6, genes=ONE.genes, adapter=random_adapter(6))
    tuned = child_of(ANCESTOR, 7, adapter=random_adapter(7))
    assert givers(both, tuned, ANCESTOR) == {(6, 7)}


def test_chance_decides_where_the_rule_says_nothing() -> None:
    changed = [
        child_of(ANCESTOR, i, genes=GRAMMAR.random(np.random.default_rng(i)), adapter=random_adapter(i)) for i in (6, 7)
    ]
    assert givers(*changed, ANCESTOR) == {(6, 7), (7, 6)}
    assert givers(child_of(ANCESTOR, 6), changed[1], ANCESTOR) == {(6, 7), (7, 6)}  # one changed both, the other none


def test_parent_and_child_follow_no_rule() -> None:
    """As in GEPA: what the child changed since their common ancestor, it changed in knowledge of its parent."""
    parent = child_of(ANCESTOR, 6, genes=ONE.genes)
    child = child_of(parent, 7, genes=TWO.genes, adapter=random_adapter(7))
    assert givers(parent, child, ANCESTOR, parent) == {(6, 7), (7, 6)}
    assert givers(child, parent, ANCESTOR, parent) == {(6, 7), (7, 6)}


def test_the_youngest_common_ancestor_counts_through_the_generations() -> None:
    """Since 5 only one sister has other genes; since 6, which brought them, only the other has changed hers back."""
    younger = child_of(ANCESTOR, 6, genes=ONE.genes)
    kept = child_of(younger, 7, adapter=random_adapter(7))
    back = child_of(child_of(younger, 8), 9, genes=ANCESTOR.genes)
    known = (ANCESTOR, younger, child_of(younger, 8))
    assert givers(kept, back, *known) == {(9, 7)}
    assert givers(kept, back, ANCESTOR, replace(younger, id=66)) == {(7, 9), (9, 7)}  # the line is broken


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_chances_outside_0_to_1_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="halves: expected a number from 0 to 1, got"):
        Variation(halves=value)
