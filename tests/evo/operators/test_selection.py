"""Selection: pressure in the right direction, nothing global disturbed, nothing that is not a number."""

import math
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
from deap import tools
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evo.operators.selection import Best, DeapSelection, Selection, Tournament
from evo.operators.selection.best import best
from evo.operators.selection.deap_selection import Candidate, lent_global_randomness
from fitness.errors import ConfigError

SELECTIONS = [
    Tournament(size=3),
    Best(),
    DeapSelection(function=tools.selRoulette),
    DeapSelection(function="deap.tools.selTournament", arguments={"tournsize": 2}),
]
FITNESS = arrays(np.float64, st.integers(1, 12), elements=st.floats(0.1, 100))


@pytest.mark.parametrize("selection", SELECTIONS)
@given(fitness=FITNESS, seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(deadline=None)
def test_contract(selection: Selection, fitness: np.ndarray, seed: int, data: st.DataObject) -> None:
    before = fitness.copy()
    count = data.draw(st.integers(0, 2 * len(fitness)))
    chosen = selection.select(fitness, count, np.random.default_rng(seed))
    assert chosen.shape == (count,)
    assert chosen.dtype == np.int64
    assert ((chosen >= 0) & (chosen < len(fitness))).all()
    np.testing.assert_array_equal(chosen, selection.select(fitness, count, np.random.default_rng(seed)))
    np.testing.assert_array_equal(fitness, before)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_more_fitness_is_chosen_more(selection: Selection) -> None:
    fitness, rng = np.array([5.0, 1.0, 4.0, 2.0, 3.0]), np.random.default_rng(0)
    chosen = np.concatenate([selection.select(fitness, 2, rng) for _ in range(1000)])
    shares = np.bincount(chosen, minlength=5)[np.argsort(fitness)]
    assert (np.diff(shares) >= 0).all()
    assert fitness[chosen].mean() > fitness.mean() + 0.5


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_fitness_that_is_not_finite_is_refused(selection: Selection, bad: float) -> None:
    with pytest.raises(ValueError, match=r"fitness: expected finite numbers, got \[.*\] for member 2"):
        selection.select(np.array([1.0, 2.0, bad, 3.0]), 2, np.random.default_rng(0))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_an_empty_population_is_refused(selection: Selection) -> None:
    with pytest.raises(ValueError, match="fitness: expected shape"):
        selection.select(np.array([]), 1, np.random.default_rng(0))


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
    shares = np.bincount(chosen, minlength=4) / 20000
    np.testing.assert_allclose(shares, np.array([1, 7, 19, 37]) / 64, atol=0.01)


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
