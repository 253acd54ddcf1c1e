"""Selection: pressure in the right direction, nothing global disturbed, nothing that is not a number."""

import inspect
import math
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evo.build import build_run
from evo.compose import CONF_FOLDER
from evo.operators import selection as family
from evo.operators.selection import (
    NSGA2,
    NSGA3,
    SPEA2,
    Best,
    DeapSelection,
    Lexicase,
    ParetoFrequency,
    PerformanceNovelty,
    Pool,
    Rank,
    ResourceSharing,
    Roulette,
    Selection,
    Tournament,
    TournamentDCD,
    UniversalSampling,
)
from evo.operators.selection.best import best
from evo.operators.selection.deap_selection import Candidate, lent_global_randomness
from fitness.errors import ConfigError

SELECTIONS: list[Selection] = [
    Tournament(size=3),
    Best(),
    Rank(pressure=1.8),
    Roulette(),
    UniversalSampling(),
    PerformanceNovelty(sharpness=10.0),
    Lexicase(),
    Lexicase(epsilon=1.0),
    Lexicase(epsilon="auto"),
    Lexicase(share=0.25),
    NSGA2(),
    NSGA3(),
    NSGA3(divisions=3),
    SPEA2(),
    TournamentDCD(),
    ParetoFrequency(),
    ResourceSharing(competition=1.0),
    DeapSelection(function="deap.tools.selTournament", arguments={"tournsize": 5}),
]
# Few different values make ties and constant worlds; the others, negative ones too, make none.
VALUES = st.one_of(st.sampled_from([-1.0, 0.0, 2.0]), st.floats(-100, 100))
FITNESS = st.one_of(
    arrays(np.float64, st.integers(1, 12), elements=VALUES),
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=VALUES),
)
POOLS = arrays(np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=VALUES)


def pool_of(cases: np.ndarray, children: np.ndarray | None = None) -> Pool:
    none = np.zeros(len(cases), np.int64)
    return Pool(scores=cases.mean(axis=1), cases=cases, children=none if children is None else children)


def shares(chosen: np.ndarray, members: int) -> np.ndarray:
    return np.bincount(chosen, minlength=members) / len(chosen)


@pytest.mark.parametrize("selection", SELECTIONS)
@given(fitness=FITNESS, seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(deadline=None, max_examples=30)
def test_contract(selection: Selection, fitness: np.ndarray, seed: int, data: st.DataObject) -> None:
    before = fitness.copy()
    count = data.draw(st.integers(0, 2 * len(fitness) + 1))
    chosen = selection.select(fitness, count, np.random.default_rng(seed))
    assert chosen.shape == (count,)
    assert chosen.dtype == np.int64
    assert ((chosen >= 0) & (chosen < len(fitness))).all()
    np.testing.assert_array_equal(chosen, selection.select(fitness, count, np.random.default_rng(seed)))
    np.testing.assert_array_equal(fitness, before)


@pytest.mark.parametrize("selection", SELECTIONS)
@given(cases=POOLS, seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(deadline=None, max_examples=15)
def test_parents_and_mates(selection: Selection, cases: np.ndarray, seed: int, data: st.DataObject) -> None:
    pool, before = pool_of(cases), cases.copy()
    chosen = selection.choose(pool, 5, np.random.default_rng(seed))
    seen = pool.cases if selection.sees == "cases" else pool.scores
    np.testing.assert_array_equal(chosen, selection.select(seen, 5, np.random.default_rng(seed)))
    first = data.draw(st.integers(0, len(cases) - 1))
    mate = selection.mate(pool, first, np.random.default_rng(seed))
    assert mate != first
    assert 0 <= mate < len(cases)
    assert mate == selection.mate(pool, first, np.random.default_rng(seed))
    np.testing.assert_array_equal(cases, before)


def assert_presses_upwards(choose: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]) -> None:
    """Assert that, of members each better on everything than the one before, the better come more often."""
    rng, places = np.random.default_rng(0), np.array([5, 1, 4, 0, 3, 2, 7, 6])
    cases = (places[:, None] + 1) * np.array([[1.0, 10.0, 100.0]])
    counts = np.bincount(np.concatenate([choose(cases, 3, rng) for _ in range(120)]), minlength=8)[np.argsort(places)]
    assert counts[7] > counts[4] >= counts[0]
    assert counts[4:].sum() > counts[:4].sum()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_better_on_everything_is_chosen_more(selection: Selection) -> None:
    assert_presses_upwards(selection.select)
    assert_presses_upwards(lambda cases, count, rng: selection.select(cases[:, 0], count, rng))
    with pytest.raises(AssertionError):
        assert_presses_upwards(lambda cases, count, rng: selection.select(-cases, count, rng))


@pytest.mark.parametrize("selection", [one for one in SELECTIONS if one != Best()])
def test_equals_have_equal_chances(selection: Selection) -> None:
    rng = np.random.default_rng(0)
    chosen = np.concatenate([selection.select(np.full((5, 3), 7.0), 1, rng) for _ in range(500)])
    np.testing.assert_allclose(shares(chosen, 5), 0.2, atol=0.07)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_single_member_is_chosen_each_time(selection: Selection) -> None:
    for fitness in (np.array([-3.0]), np.array([[0.0, 2.0]])):
        assert selection.select(fitness, 3, np.random.default_rng(0)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("selection", [Best(), NSGA2(), NSGA3(), SPEA2()])
def test_nobody_comes_twice_before_everybody_came_once(selection: Selection) -> None:
    fitness = np.random.default_rng(0).normal(size=(6, 3))
    for count in range(20):
        chosen = selection.select(fitness, count, np.random.default_rng(1))
        counts = np.bincount(chosen, minlength=6)
        assert counts.max() - counts.min() <= 1
        assert counts.max() == math.ceil(count / 6)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_fitness_that_is_not_finite_is_refused(selection: Selection, bad: float) -> None:
    with pytest.raises(ValueError, match=r"fitness: expected finite numbers, got \[.*\] for member 2"):
        selection.select(np.array([1.0, 2.0, bad, 3.0]), 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"fitness: expected finite numbers, got \[.*\] for member 1"):
        selection.choose(pool_of(np.array([[1.0, 2.0], [bad, 3.0]])), 2, np.random.default_rng(0))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_an_empty_population_is_refused(selection: Selection) -> None:
    with pytest.raises(ValueError, match="fitness: expected shape"):
        selection.select(np.array([]), 1, np.random.default_rng(0))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_fewer_than_none_are_refused(selection: Selection) -> None:
    with pytest.raises(ValueError, match=r"expected (at least 0|-1 of the 2 individuals .*), got"):
        selection.select(np.array([1.0, 2.0]), -1, np.random.default_rng(0))


def test_every_member_is_under_contract() -> None:
    members = {
        one for name in family.__all__ if not inspect.isabstract(one := getattr(family, name)) and one is not Pool
    }
    assert members == {type(selection) for selection in SELECTIONS}


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF_FOLDER / "selection").glob("*.yaml")))
def test_every_file_of_the_group_makes_a_member_under_contract(name: str) -> None:
    assert build_run([f"selection={name}"]).config.selection in SELECTIONS


def global_state() -> tuple[object, ...]:
    """Return the process's random state, comparable."""
    name, keys, *rest = np.random.get_state()
    return (random.getstate(), name, keys.tolist(), *rest)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_global_randomness_is_neither_read_nor_moved(selection: Selection) -> None:
    fitness, before = np.arange(10.0) + 1, global_state()
    one = selection.select(fitness, 5, np.random.default_rng(7))
    assert global_state() == before
    random.random()
    np.testing.assert_array_equal(one, selection.select(fitness, 5, np.random.default_rng(7)))


def test_both_globals_are_lent_by_the_generator() -> None:
    draws = []
    for _ in range(2):
        with lent_global_randomness(np.random.default_rng(5)):
            draws.append((random.random(), np.random.random()))
    assert draws[0] == draws[1]


def draw_and_break() -> None:
    with lent_global_randomness(np.random.default_rng(0)):
        random.random()
        raise RuntimeError("broken")


def test_global_randomness_is_put_back_after_an_error() -> None:
    before = global_state()
    with pytest.raises(RuntimeError, match="broken"):
        draw_and_break()
    assert global_state() == before


def test_tournament_of_everybody_finds_the_best() -> None:
    # 200 draws with replacement from 3 miss the best one with chance (2/3)^200.
    chosen = Tournament(size=200).select(np.array([1.0, 9.0, 3.0]), 4, np.random.default_rng(0))
    assert chosen.tolist() == [1, 1, 1, 1]


def test_tournament_by_the_formula() -> None:
    # The i-th worst of n wins a tournament of k with chance (i^k - (i-1)^k) / n^k.
    rng = np.random.default_rng(0)
    chosen = Tournament(size=3).select(np.array([1.0, 2.0, 3.0, 4.0]), 20000, rng)
    np.testing.assert_allclose(shares(chosen, 4), np.array([1, 7, 19, 37]) / 64, atol=0.01)


def test_a_tournament_of_one_is_chance() -> None:
    chosen = Tournament(size=1).select(np.array([1.0, 100.0]), 4000, np.random.default_rng(0))
    assert np.mean(chosen) == pytest.approx(0.5, abs=0.03)


def test_best_by_hand() -> None:
    assert Best().select(np.array([1.0, 5.0, 5.0, 3.0]), 3, np.random.default_rng(0)).tolist() == [1, 2, 3]
    assert best(np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 9.0]]), 3).tolist() == [1, 0, 2]


def test_best_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="count: expected 0 to 2, the number of members, got 3"):
        best(np.array([1.0, 2.0]), 3)


def worst_two(individuals: list[Candidate], k: int, reverse: bool) -> list[Candidate]:
    """A selector of a user's own, as DEAP's documentation has it."""
    return sorted(individuals, key=lambda one: one.fitness.values[0], reverse=reverse)[:k]


def test_a_users_own_deap_selector_plugs_in() -> None:
    selection = DeapSelection(function=worst_two, arguments={"reverse": False})
    assert selection.select(np.array([3.0, 1.0, 2.0]), 2, np.random.default_rng(0)).tolist() == [1, 2]


def test_selectors_with_several_objectives_work() -> None:
    fitness = np.array([[1.0, 1.0], [0.0, 3.0], [3.0, 0.0], [0.5, 0.5]])
    selection = DeapSelection(function="deap.tools.selNSGA2", arguments={"nd": "log"})
    assert sorted(selection.select(fitness, 3, np.random.default_rng(0)).tolist()) == [0, 1, 2]


def test_a_selector_that_returns_too_few_is_refused() -> None:
    selection = DeapSelection(function=lambda individuals, k: individuals[: k - 1])
    with pytest.raises(ValueError, match="expected 2 of the 3 individuals it was given, got 1"):
        selection.select(np.array([3.0, 1.0, 2.0]), 2, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tournament(size=0), "size: expected an integer of at least 1, got 0"),
        (lambda: Rank(pressure=2.5), "pressure: expected a number from 1 to 2, got 2.5"),
        (lambda: PerformanceNovelty(sharpness=-1.0), "sharpness: expected a number of at least 0, got -1.0"),
        (lambda: ResourceSharing(competition=-0.5), "competition: expected a number of at least 0, got -0.5"),
        (lambda: NSGA3(divisions=0), "divisions: expected an integer of at least 1, got 0"),
        (lambda: Lexicase(epsilon=-1.0), "epsilon: expected a number of at least 0, got -1.0"),
        (lambda: Lexicase(epsilon="mad"), "epsilon: expected a number of at least 0 or 'auto', got 'mad'"),  # type: ignore[arg-type]
        (lambda: Lexicase(share=1.5), "share: expected a number from 0 to 1, got 1.5"),
        (lambda: DeapSelection(function="deap.tools.selNothing"), "function: expected a function or its dotted path"),
        (lambda: DeapSelection(function="math.pi"), "function: expected a function or its dotted path, got 3.14"),
    ],
)
def test_bad_fields_are_refused(make: Callable[[], Selection], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_deap_sees_can_be_pickled() -> None:
    candidate = pickle.loads(pickle.dumps(Candidate(3, (1.0, 2.0))))
    assert (candidate.position, candidate.fitness.values) == (3, (1.0, 2.0))


def test_the_best_come_again_when_more_are_asked_for_than_there_are() -> None:
    chosen = Best().select(np.array([1.0, 3.0, 2.0]), 5, np.random.default_rng(0))
    assert chosen.tolist() == [1, 2, 0, 1, 2]
