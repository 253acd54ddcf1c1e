"""Variation: children have the parents, names and halves that were asked for, and are no copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.genome import Genome
from evo.operators.variation import Couple, Variation
from fitness.errors import ConfigError
from tests.evo.samples import GRAMMAR, genome, random_adapter

ONE, TWO = genome(0, adapter=random_adapter(0)), genome(1, adapter=random_adapter(1))


def breed(variation: Variation, couples: list[Couple], seed: int = 0) -> list[Genome]:
    return variation.breed(couples, 10, 3, GRAMMAR, np.random.default_rng(seed))


def test_children_know_where_they_come_from() -> None:
    first, second = breed(Variation(), [(ONE,), (ONE, TWO)])
    assert (first.id, first.parents, first.operator, first.born) == (10, (0,), "mutation", 3)
    assert (second.id, second.parents, second.operator, second.born) == (11, (0, 1), "crossover+mutation", 3)


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_contract(seed: int, count: int) -> None:
    couples: list[Couple] = [((ONE,), (ONE, TWO), (TWO, ONE))[i % 3] for i in range(count)]
    digests = ONE.adapter.digest(), TWO.adapter.digest()
    children, again = breed(Variation(), couples, seed), breed(Variation(), couples, seed)
    assert [child.record() for child in children] == [child.record() for child in again]
    assert [child.id for child in children] == list(range(10, 10 + count))
    assert (ONE.adapter.digest(), TWO.adapter.digest()) == digests
    for child in children:
        assert GRAMMAR.parse(GRAMMAR.render(child.genes)) == child.genes


@pytest.mark.parametrize(
    "variation", [Variation(), Variation(adapter_mutation_rate=0.0), Variation(strategy_mutation_rate=0.0)]
)
def test_a_child_of_one_is_no_copy(variation: Variation) -> None:
    children = breed(variation, [(ONE,)] * 200)
    assert all(c.genes != ONE.genes or c.adapter.digest() != ONE.adapter.digest() for c in children)


def test_each_half_can_be_frozen() -> None:
    still = breed(Variation(adapter_mutation_rate=0.0), [(ONE,)] * 20)
    assert all(child.adapter is ONE.adapter for child in still)
    mute = breed(Variation(strategy_mutation_rate=0.0), [(ONE,)] * 20)
    assert all(child.genes == ONE.genes for child in mute)


def test_no_couples_no_children() -> None:
    assert breed(Variation(), []) == []


@pytest.mark.parametrize("field", ["crossover_rate", "strategy_mutation_rate", "adapter_mutation_rate"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_chances_outside_0_to_1_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}: expected a number from 0 to 1, got"):
        Variation(**{field: value})
