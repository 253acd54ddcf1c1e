"""Members that draw in proportion to weights: the weights by hand, the draws against DEAP's."""

import numpy as np
import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evo.operators.selection import (
    ParetoFrequency,
    PerformanceNovelty,
    Pool,
    Rank,
    ResourceSharing,
    Roulette,
    Selection,
    UniversalSampling,
)
from evo.operators.selection.deap_selection import select_with_deap

DRAWS = 20_000


def shares(selection: Selection, fitness: object, seed: int = 0) -> np.ndarray:
    """Return how often each member is chosen, as shares of many draws."""
    table = np.array(fitness, dtype=np.float64)
    chosen = selection.select(table, DRAWS, np.random.default_rng(seed))
    return np.bincount(chosen, minlength=len(table)) / DRAWS


def mate_shares(selection: Selection, cases: object, first: int) -> list[float]:
    table, rng = np.array(cases, dtype=np.float64), np.random.default_rng(0)
    pool = Pool(scores=table.mean(axis=1), cases=table, children=np.zeros(len(table), np.int64))
    mates = [selection.mate(pool, first, rng) for _ in range(2000)]
    return (np.bincount(mates, minlength=len(table)) / 2000).tolist()


@pytest.mark.parametrize(
    ("pressure", "chances"),
    # n = 4: (2 - s) / 4 + 2 r (s - 1) / 12 for r = 0..3.
    [(1.0, [1 / 4] * 4), (1.5, [3 / 24, 5 / 24, 7 / 24, 9 / 24]), (2.0, [0, 1 / 6, 2 / 6, 3 / 6])],
)
def test_linear_ranking_by_the_formula(pressure: float, chances: list[float]) -> None:
    found = shares(Rank(pressure=pressure), [-1e9, 0.0, 1.0, 50.0])
    np.testing.assert_allclose(found, chances, atol=0.012)


def test_equals_share_the_mean_of_their_places() -> None:
    # Places 0, 1.5, 1.5, 3 of four, at pressure 2: chances 0, 1/4, 1/4, 1/2.
    np.testing.assert_allclose(shares(Rank(pressure=2.0), [1.0, 4.0, 4.0, 9.0]), [0, 0.25, 0.25, 0.5], atol=0.012)


@pytest.mark.parametrize("selection", [Roulette(), UniversalSampling()])
@pytest.mark.parametrize(
    ("fitness", "chances"),
    [
        ([1.0, 2.0, 5.0], [1 / 8, 2 / 8, 5 / 8]),
        ([0.0, 1.0, 1.0], [0, 1 / 2, 1 / 2]),
        ([-4.0, -3.0, -1.0], [0, 1 / 4, 3 / 4]),  # raised by 4
        ([0.0, 0.0], [1 / 2, 1 / 2]),
        ([[1.0, 3.0], [8.0, 4.0]], [1 / 4, 3 / 4]),  # means 2 and 6
        ([5e-324, 5e-324, 0.0], [1 / 2, 1 / 2, 0]),
    ],
)
def test_in_proportion_to_fitness(selection: Selection, fitness: list[float], chances: list[float]) -> None:
    np.testing.assert_allclose(shares(selection, fitness), chances, atol=0.012)


def test_roulette_is_deaps_where_deaps_works() -> None:
    fitness = np.array([3.0, 0.5, 8.0, 1.5, 2.0])
    theirs = select_with_deap(tools.selRoulette, fitness, DRAWS, np.random.default_rng(1))
    np.testing.assert_allclose(shares(Roulette(), fitness), np.bincount(theirs) / DRAWS, atol=0.015)


def test_deaps_roulette_breaks_on_negative_fitness() -> None:
    with pytest.raises(ValueError, match="selRoulette: expected 9 of the 3 individuals it was given, got"):
        select_with_deap(tools.selRoulette, np.array([-4.0, -3.0, -1.0]), 9, np.random.default_rng(0))


POSITIVE = arrays(np.float64, st.integers(1, 9), elements=st.floats(0.1, 10))


@given(fitness=POSITIVE, count=st.integers(1, 30), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_universal_sampling_leaves_no_luck_in_the_numbers(fitness: np.ndarray, count: int, seed: int) -> None:
    expected = count * fitness / fitness.sum()
    ours = UniversalSampling().select(fitness, count, np.random.default_rng(seed))
    theirs = select_with_deap(tools.selStochasticUniversalSampling, fitness, count, np.random.default_rng(seed))
    for chosen in (ours, theirs):
        counts = np.bincount(chosen, minlength=len(fitness))
        assert (counts >= np.floor(expected - 1e-9)).all()
        assert (counts <= np.ceil(expected + 1e-9)).all()


def test_universal_sampling_is_deaps_on_average() -> None:
    fitness, rng = np.array([3.0, 0.7, 8.0, 1.5, 2.0]), np.random.default_rng(0)
    found = [
        np.bincount(np.concatenate(many), minlength=5) / 3000
        for many in zip(
            *[
                (
                    UniversalSampling().select(fitness, 3, rng),
                    select_with_deap(tools.selStochasticUniversalSampling, fitness, 3, rng),
                )
                for _ in range(1000)
            ],
            strict=True,
        )
    ]
    np.testing.assert_allclose(found[0], found[1], atol=0.02)
    np.testing.assert_allclose(found[0], fitness / fitness.sum(), atol=0.02)


def test_performance_and_novelty_by_hand() -> None:
    # Median 2, MAD 1; with lambda = ln 3 the sigmoid is 1/4, 1/2, 3/4.
    selection, scores = PerformanceNovelty(sharpness=float(np.log(3))), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(shares(selection, scores), np.array([1, 2, 3]) / 6, atol=0.012)
    for children, chances in ([0, 1, 2], [1 / 3, 1 / 3, 1 / 3]), ([0, 0, 11], [4 / 13, 8 / 13, 1 / 13]):
        pool = Pool(scores=scores, cases=scores[:, None], children=np.array(children))
        chosen = selection.choose(pool, DRAWS, np.random.default_rng(0))
        np.testing.assert_allclose(np.bincount(chosen, minlength=3) / DRAWS, chances, atol=0.012)


def test_without_spread_the_better_half_is_alike_and_the_worse_has_no_chance() -> None:
    # MAD 0: the median weighs 1/2, better ones 1, worse ones nothing.
    found = shares(PerformanceNovelty(), [-1e300, 5.0, 5.0, 5.0, 1e300])
    np.testing.assert_allclose(found, [0, 0.2, 0.2, 0.2, 0.4], atol=0.012)


@pytest.mark.parametrize(
    ("cases", "chances"),
    [
        # 0 holds worlds 0 and 1, 2 holds world 2; 1 is in a front only where 0 is too.
        ([[9, 9, 0], [9, 0, 0], [0, 0, 9]], [2 / 3, 0, 1 / 3]),
        # 0 has the lowest mean and is in no front alone; then 1 must stay.
        ([[5, 5, 0], [5, 4, 3], [1, 5, 6]], [0, 1 / 3, 2 / 3]),
        # All three are in every front: two of them go, the best mean stays.
        ([[7, 7], [7, 7], [7, 7]], [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_pareto_frequency_by_hand(cases: list[list[float]], chances: list[float]) -> None:
    rng, table = np.random.default_rng(0), np.array(cases, dtype=np.float64)
    chosen = np.concatenate([ParetoFrequency().select(table, 2, rng) for _ in range(2000)])
    np.testing.assert_allclose(np.bincount(chosen, minlength=3) / len(chosen), chances, atol=0.03)


def kept_by_restarting(cases: np.ndarray) -> set[int]:
    """Return who is left after dropping, again and again from the lowest mean, whom no front needs; as GEPA has it."""
    fronts = [set(np.flatnonzero(column == column.max()).tolist()) for column in cases.T]
    left = set().union(*fronts)
    while True:
        for member in sorted(left, key=lambda one: cases[one].mean()):
            if all(front & left - {member} for front in fronts if member in front):
                left.remove(member)
                break
        else:
            return left


@given(cases=arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 6)), elements=st.integers(0, 2)))
@settings(deadline=None, max_examples=60)
def test_one_pass_drops_whom_repeated_passes_drop(cases: np.ndarray) -> None:
    apart = cases + np.arange(cases.shape[1]) * 10
    apart = np.column_stack([apart, np.arange(len(cases)) * 1e-6 - 100])  # means that differ; the last one has a front
    chosen = ParetoFrequency().select(apart, 400, np.random.default_rng(0))
    assert set(chosen.tolist()) == kept_by_restarting(apart)


def test_what_is_shared_is_worth_less() -> None:
    # World 0 feeds two, world 1 one: earnings are [1/2, 1] and [1/2, 0]; without competition they are fitness.
    cases = np.array([[1.0, 1.0], [1.0, 0.0]])
    np.testing.assert_allclose(ResourceSharing().earn(cases), [[0.5, 1.0], [0.5, 0.0]])
    np.testing.assert_allclose(shares(ResourceSharing(), cases), [3 / 4, 1 / 4], atol=0.012)
    np.testing.assert_allclose(ResourceSharing(competition=0.0).earn(cases), cases)
    np.testing.assert_allclose(ResourceSharing(competition=2.0).earn(cases), [[0.25, 1.0], [0.25, 0.0]])


def test_worlds_that_feed_nobody_or_are_negative() -> None:
    np.testing.assert_allclose(ResourceSharing().earn(np.array([[0.0, -3.0], [0.0, 1.0]])), [[0, 0], [0, 1]])
    np.testing.assert_allclose(shares(ResourceSharing(), np.zeros((2, 3))), [0.5, 0.5], atol=0.012)


def test_a_mate_is_sought_for_what_the_first_parent_lacks() -> None:
    # Earnings [3/4, 0, 0], [1/4, 1/2, 0], [0, 1/2, 1]: beyond 0's, 1 earns 1/2 and 2 earns 3/2.
    cases = [[3, 0, 0], [1, 2, 0], [0, 2, 4]]
    np.testing.assert_allclose(mate_shares(ResourceSharing(), cases, 0), [0, 1 / 4, 3 / 4], atol=0.04)
    # Beyond 2's, 0 earns 3/4 and 1 earns 1/4.
    np.testing.assert_allclose(mate_shares(ResourceSharing(), cases, 2), [3 / 4, 1 / 4, 0], atol=0.04)


def test_who_lacks_nothing_takes_anyone() -> None:
    np.testing.assert_allclose(mate_shares(ResourceSharing(), [[1, 0], [9, 9], [0, 1]], 1), [0.5, 0, 0.5], atol=0.04)
