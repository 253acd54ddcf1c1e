"""Lexicase: the filter against its definition, the draws against DEAP's, and what down-sampling looks at."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2_contingency

from evo.operators.selection import Lexicase, lexicase_filter
from evo.operators.selection.deap_selection import lent_global_randomness
from evo.operators.selection.lexicase_filter import Filter, Pools

EPSILONS: list[Any] = [0.0, 1.0, 0.3, "auto"]
TABLES = arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.integers(1, 5)),
    elements=st.one_of(st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3, 0.30000000000000004, -1.0])),
)


def left_by_definition(cases: np.ndarray, order: np.ndarray, epsilon: Any) -> list[int]:
    """Return who is left after all worlds of one order."""
    pool = np.arange(len(cases))
    for world in order:
        values = cases[pool, world]
        behind = np.median(np.abs(values - np.median(values))) if epsilon == "auto" else epsilon
        pool = pool[values >= values.max() - behind]
    return pool.tolist()


def pools(left: Pools) -> list[list[int]]:
    return [part.tolist() for part in np.split(left.kinds, left.starts[1:])]


@pytest.mark.parametrize("block", [1, 10, 2**18])
@pytest.mark.parametrize("epsilon", EPSILONS)
@given(cases=TABLES, copies=st.data(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_the_filter_is_its_definition(
    block: int, epsilon: Any, cases: np.ndarray, copies: st.DataObject, seed: int
) -> None:
    counts = np.array(copies.draw(st.lists(st.integers(1, 3), min_size=len(cases), max_size=len(cases))))
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(cases.shape[1]), (7, 1)), axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicase_filter, "_BLOCK", block)
        found = pools(Filter(cases, counts, epsilon).narrow(orders))
    kind = np.repeat(np.arange(len(cases)), counts)
    expected = [sorted(set(kind[left_by_definition(cases[kind], order, epsilon)].tolist())) for order in orders]
    assert found == expected


CONTINUOUS = np.random.default_rng(0).normal(size=(200, 6)) + np.random.default_rng(1).normal(size=(200, 1))
SATURATED = np.minimum(np.round(np.exp(CONTINUOUS + 2)), 12.0)
"""Lives that end at the horizon of 12 in about every third world: many ties, and members that are equal."""


@pytest.mark.parametrize("cases", [CONTINUOUS, SATURATED], ids=["continuous", "saturated"])
@pytest.mark.parametrize(
    ("epsilon", "function", "arguments"),
    [
        (0.0, tools.selLexicase, {}),
        (0.5, tools.selEpsilonLexicase, {"epsilon": 0.5}),
        (2.0, tools.selEpsilonLexicase, {"epsilon": 2.0}),
        ("auto", tools.selAutomaticEpsilonLexicase, {}),
    ],
)
def test_parents_are_drawn_as_deap_draws_them(
    cases: np.ndarray, epsilon: Any, function: Any, arguments: dict[str, float]
) -> None:
    weights = (1.0,) * cases.shape[1]
    individuals = [
        SimpleNamespace(position=i, fitness=SimpleNamespace(values=row, weights=weights))
        for i, row in enumerate(cases.tolist())
    ]
    with lent_global_randomness(np.random.default_rng(0)):
        theirs = np.bincount([one.position for one in function(individuals, 1500, **arguments)], minlength=200)
    ours = np.bincount(Lexicase(epsilon=epsilon).select(cases, 6000, np.random.default_rng(1)), minlength=200)
    assert ours[theirs > 0].sum() > 0.97 * 6000  # whom DEAP never draws, we hardly do
    assert chi2_contingency(with_rare_ones_together(ours, theirs)).pvalue > 0.001


def with_rare_ones_together(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return both counts as a table [2, cells] in which every cell expects 5 or more."""
    counts = np.stack([ours, theirs])
    rare = counts.sum(axis=0) * theirs.sum() < 5 * counts.sum()
    table = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    return table[:, table.sum(axis=0) > 0]


def test_by_hand() -> None:
    # First world 0 (half of all parents): 0 and 1 are left, then world 1 leaves 1. First world 1: 2 alone.
    cases = np.array([[5.0, 0.0], [5.0, 1.0], [0.0, 9.0], [4.0, 8.5]])
    chosen = np.bincount(Lexicase().select(cases, 10_000, np.random.default_rng(0)), minlength=4) / 10_000
    np.testing.assert_allclose(chosen, [0, 0.5, 0.5, 0], atol=0.02)
    # Within 1: world 0 leaves 0, 1, 3, then world 1 leaves 3; world 1 leaves 2 and 3, then world 0 leaves 3.
    assert set(Lexicase(epsilon=1.0).select(cases, 50, np.random.default_rng(0)).tolist()) == {3}


def test_the_spread_is_of_those_still_there() -> None:
    # World 0 (median 9, distances 9 9 0 0 0, MAD 0) leaves 2, 3, 4. World 1 then has the values 0, 2, 6 and a MAD of 2,
    # which leaves 4 alone; over all five it would be 6 and leave 2 and 3 too.
    cases = np.array([[0.0, -30.0], [0.0, -30.0], [9.0, 0.0], [9.0, 2.0], [9.0, 6.0]])
    assert pools(Filter(cases, np.ones(5, np.int64), "auto").narrow(np.array([[0, 1]]))) == [[4]]


def test_the_middle_of_an_even_number_is_between_two() -> None:
    # Median 3.5, distances 3.5 2.5 2.5 4.5, so a MAD of 3: 6 is within it of 8.
    cases = np.array([[0.0], [1.0], [6.0], [8.0]])
    assert pools(Filter(cases, np.ones(4, np.int64), "auto").narrow(np.array([[0]]))) == [[2, 3]]
    # With 8 three times: median 7, distances 7 6 1 1 1 1, so a MAD of 1.
    assert pools(Filter(cases, np.array([1, 1, 1, 3]), "auto").narrow(np.array([[0]]))) == [[3]]


def test_copies_of_the_winner_have_the_same_chance() -> None:
    cases = np.array([[1.0, 1.0], [9.0, 9.0], [9.0, 9.0], [2.0, 0.0], [9.0, 9.0]])
    for epsilon in EPSILONS:
        chosen = np.bincount(Lexicase(epsilon=epsilon).select(cases, 6000, np.random.default_rng(0)), minlength=5)
        np.testing.assert_allclose(chosen / 6000, [0, 1 / 3, 1 / 3, 0, 1 / 3], atol=0.03)


@pytest.mark.parametrize(("share", "looked_at"), [(0.0, 1), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_a_share_of_the_worlds_is_drawn_once_per_call(share: float, looked_at: int) -> None:
    # Member i is best in world i alone, so the winners of a call tell which worlds were looked at.
    won = [set(Lexicase(share=share).select(np.eye(8), 200, np.random.default_rng(s)).tolist()) for s in range(40)]
    assert {len(one) for one in won} == {looked_at}
    assert set().union(*won) == set(range(8))
