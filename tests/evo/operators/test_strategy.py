"""Strategy operators: every slot stays filled from its own clauses, and change has the strength that was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.operators.strategy import ClauseMutation, SegmentCrossover, StrategyCrossover, StrategyMutation
from fitness.environments.grammar import Grammar, Slot
from tests.evo.samples import GRAMMAR

CROSSOVERS = [SegmentCrossover()]
MUTATIONS = [ClauseMutation()]
SEEDS = st.integers(0, 2**32 - 1)
SLOTS = len(GRAMMAR.slots)


def random_genes(seed: int) -> tuple[str, ...]:
    return GRAMMAR.random(np.random.default_rng(seed))


@pytest.mark.parametrize("operator", CROSSOVERS)
@given(first=SEEDS, second=SEEDS, seed=SEEDS)
@settings(deadline=None)
def test_crossover_contract(operator: StrategyCrossover, first: int, second: int, seed: int) -> None:
    one, two = random_genes(first), random_genes(second)
    child = operator.cross(one, two, np.random.default_rng(seed))
    assert child == operator.cross(one, two, np.random.default_rng(seed))
    assert GRAMMAR.parse(GRAMMAR.render(child)) == child
    assert all(gene in pair for gene, *pair in zip(child, one, two, strict=True))
    assert operator.cross(one, one, np.random.default_rng(seed)) == one


@pytest.mark.parametrize("operator", MUTATIONS)
@given(parent=SEEDS, seed=SEEDS, step=st.floats(0, 1))
@settings(deadline=None)
def test_mutation_contract(operator: StrategyMutation, parent: int, seed: int, step: float) -> None:
    genes = random_genes(parent)
    mutant = operator.mutate(genes, step, GRAMMAR, np.random.default_rng(seed))
    assert mutant == operator.mutate(genes, step, GRAMMAR, np.random.default_rng(seed))
    assert GRAMMAR.parse(GRAMMAR.render(mutant)) == mutant
    assert operator.mutate(genes, 0.0, GRAMMAR, np.random.default_rng(seed)) == genes


@given(SEEDS)
@settings(deadline=None)
def test_segment_is_one_circular_run_and_both_parents_give(seed: int) -> None:
    child = SegmentCrossover().cross(("x",) * SLOTS, ("y",) * SLOTS, np.random.default_rng(seed))
    borders = sum(child[i] != child[i - 1] for i in range(SLOTS))
    assert borders == 2


def test_every_slot_is_as_likely_to_cross() -> None:
    rng = np.random.default_rng(0)
    given_by_second = np.zeros(SLOTS)
    for _ in range(4000):
        given_by_second += [gene == "y" for gene in SegmentCrossover().cross(("x",) * SLOTS, ("y",) * SLOTS, rng)]
    np.testing.assert_allclose(given_by_second / 4000, 0.5, atol=0.04)


def test_one_slot_comes_from_either_parent() -> None:
    rng = np.random.default_rng(0)
    assert {SegmentCrossover().cross(("x",), ("y",), rng) for _ in range(20)} == {("x",), ("y",)}


def test_parents_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="second: expected 2 genes like the first parent, got 1"):
        SegmentCrossover().cross(("x", "y"), ("x",), np.random.default_rng(0))


def test_full_rate_changes_every_slot() -> None:
    genes = random_genes(3)
    mutant = ClauseMutation().mutate(genes, 1.0, GRAMMAR, np.random.default_rng(0))
    assert all(old != new for old, new in zip(genes, mutant, strict=True))


def test_rate_is_the_share_of_slots_that_change() -> None:
    rng, genes = np.random.default_rng(0), random_genes(3)
    mutants = [ClauseMutation().mutate(genes, 0.3, GRAMMAR, rng) for _ in range(2000)]
    changed = np.mean([[old != new for old, new in zip(genes, mutant, strict=True)] for mutant in mutants])
    assert changed == pytest.approx(0.3, abs=0.02)


def test_a_slot_without_another_clause_stays() -> None:
    grammar = Grammar((Slot("only", ("so",)),))
    assert ClauseMutation().mutate(("so",), 1.0, grammar, np.random.default_rng(0)) == ("so",)


def test_genes_of_another_grammar_are_refused() -> None:
    with pytest.raises(ValueError, match="one clause for each of 8 slots, got 1"):
        ClauseMutation().mutate(("so",), 1.0, GRAMMAR, np.random.default_rng(0))
