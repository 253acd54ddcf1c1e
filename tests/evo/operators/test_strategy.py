"""Strategy operators: every slot stays filled from its own clauses, and change has the strength that was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.operators.strategy import (
    Blend,
    Chain,
    ClauseDeletion,
    ClauseInsertion,
    ClauseMutation,
    ClauseShift,
    Rewrite,
    SegmentCrossover,
    StrategyCrossover,
    StrategyMutation,
)
from fitness.environments.grammar import Grammar, Slot, free_grammar, tidy
from fitness.errors import ConfigError
from tests.evo.samples import GRAMMAR

EDITS = Chain(members=(ClauseMutation(), ClauseInsertion(), ClauseDeletion(), ClauseShift()))
CROSSOVERS = [SegmentCrossover(), Blend()]
MUTATIONS = [ClauseMutation(), ClauseInsertion(), ClauseDeletion(), ClauseShift(), EDITS, Rewrite()]
FREE = free_grammar(tuple("abcdef"), most=5)
NOTED = Grammar((*GRAMMAR.slots[:3], *FREE.slots))
GRAMMARS = [GRAMMAR, FREE, NOTED, free_grammar(most=1)]
SEEDS = st.integers(0, 2**32 - 1)
SLOTS = len(GRAMMAR.slots)


def random_genes(seed: int, grammar: Grammar = GRAMMAR) -> tuple[str, ...]:
    return grammar.random(np.random.default_rng(seed))


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("operator", CROSSOVERS)
@given(first=SEEDS, second=SEEDS, seed=SEEDS)
@settings(deadline=None, max_examples=40)
def test_crossover_contract(operator: StrategyCrossover, grammar: Grammar, first: int, second: int, seed: int) -> None:
    one, two = random_genes(first, grammar), random_genes(second, grammar)
    child = operator.cross(one, two, np.random.default_rng(seed))
    assert child == operator.cross(one, two, np.random.default_rng(seed))
    assert grammar.parse(grammar.render(child)) == child
    assert all(gene in pair for gene, *pair in zip(child[: grammar.closed], one, two))  # noqa: B905
    assert set(child) <= {*one, *two}
    assert operator.cross(one, one, np.random.default_rng(seed)) == one


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("operator", MUTATIONS)
@given(parent=SEEDS, seed=SEEDS, step=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_mutation_contract(operator: StrategyMutation, grammar: Grammar, parent: int, seed: int, step: float) -> None:
    genes = random_genes(parent, grammar)
    mutant = operator.mutate(genes, step, grammar, np.random.default_rng(seed))
    assert mutant == operator.mutate(genes, step, grammar, np.random.default_rng(seed))
    assert grammar.parse(grammar.render(mutant)) == mutant
    assert operator.mutate(genes, 0.0, grammar, np.random.default_rng(seed)) == genes


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


@pytest.mark.parametrize("operator", MUTATIONS)
def test_genes_of_another_grammar_are_refused(operator: StrategyMutation) -> None:
    with pytest.raises(ValueError, match="one clause for each of 8 slots, got 1"):
        operator.mutate(("so",), 1.0, GRAMMAR, np.random.default_rng(0))


@pytest.mark.parametrize("operator", [ClauseInsertion(), ClauseDeletion(), ClauseShift()])
@given(parent=SEEDS, seed=SEEDS)
@settings(deadline=None, max_examples=30)
def test_closed_slots_neither_come_go_nor_move(operator: StrategyMutation, parent: int, seed: int) -> None:
    genes = random_genes(parent)
    assert operator.mutate(genes, 1.0, GRAMMAR, np.random.default_rng(seed)) == genes
    noted = random_genes(parent, NOTED)
    assert operator.mutate(noted, 1.0, NOTED, np.random.default_rng(seed))[:3] == noted[:3]


def outcomes(
    operator: StrategyMutation, genes: tuple[str, ...], step: float = 1.0, grammar: Grammar = FREE
) -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(operator.mutate(genes, step, grammar, rng)) for _ in range(3000)]


def assert_alike(found: list[str], expected: set[str]) -> None:
    assert set(found) == expected
    shares = np.array([found.count(text) for text in sorted(expected)]) / len(found)
    np.testing.assert_allclose(shares, 1 / len(expected), atol=0.04)


def test_insertion_puts_each_new_sentence_at_each_place_alike() -> None:
    expected = {text for new in "cdef" for text in (f"{new}ab", f"a{new}b", f"ab{new}")}
    assert_alike(outcomes(ClauseInsertion(), ("a", "b", "", "", "")), expected)
    assert outcomes(ClauseInsertion(), tuple("abcde"))[0] == "abcde"


def test_deletion_takes_each_sentence_alike() -> None:
    assert_alike(outcomes(ClauseDeletion(), ("a", "b", "c", "", "")), {"bc", "ac", "ab"})
    assert outcomes(ClauseDeletion(), ("",) * 5)[0] == ""


def test_a_shift_moves_one_sentence_to_each_other_place_alike() -> None:
    found = outcomes(ClauseShift(), ("a", "b", "c", "", ""))
    assert set(found) == {"bac", "bca", "acb", "cab"}
    assert found.count("bac") / 3000 == pytest.approx(2 / 6, abs=0.04)  # of a behind b, or of b before a
    assert found.count("bca") / 3000 == pytest.approx(1 / 6, abs=0.04)
    assert set(outcomes(ClauseShift(), ("a", "", "", "", ""))) == {"a"}


@pytest.mark.parametrize("operator", [ClauseInsertion(), ClauseDeletion(), ClauseShift()])
def test_the_step_size_is_the_chance_of_an_edit(operator: StrategyMutation) -> None:
    found = outcomes(operator, ("a", "b", "", "", ""), step=0.3)
    assert np.mean([text != "ab" for text in found]) == pytest.approx(0.3, abs=0.04)


def test_insertion_and_deletion_leave_the_length_without_a_drift() -> None:
    rng, chain = np.random.default_rng(0), Chain(members=(ClauseInsertion(), ClauseDeletion()))
    grammar = free_grammar(tuple("abcdefghijklmnopqrst"), most=12)
    lengths = []
    for _ in range(400):
        genes = tuple("abcdef") + ("",) * 6
        for _ in range(10):
            genes = chain.mutate(genes, 0.2, grammar, rng)
        lengths.append(sum(map(bool, genes)))
    assert np.mean(lengths) == pytest.approx(6, abs=0.3)
    assert np.std(lengths) > 1


def test_free_slots_stay_empty_under_clause_mutation() -> None:
    mutant = ClauseMutation().mutate(("a", "", "", "", ""), 1.0, FREE, np.random.default_rng(0))
    assert mutant[0] in "bcdef"
    assert mutant[1:] == ("",) * 4


def test_gaps_close_when_segments_cross() -> None:
    rng = np.random.default_rng(0)
    children = {SegmentCrossover().cross(("a", "b", "c"), ("x", "", ""), rng) for _ in range(100)}
    assert ("a", "c", "") in children
    assert children == {tidy(child) for child in children}


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(ConfigError, match="members: expected at least one mutation"):
        Chain(members=())
