"""Members for several objectives: fronts and crowding by hand, and DEAP's own where DEAP's works."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from deap import tools
from deap.tools.emo import assignCrowdingDist
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2_contingency

from evo.operators.selection import NSGA2, NSGA3, SPEA2, Selection, TournamentDCD
from evo.operators.selection.deap_selection import Candidate, select_with_deap

LINE = [[0.0, 10.0], [1.0, 9.0], [2.0, 8.0], [6.0, 4.0], [10.0, 0.0]]
"""One front; its crowding distances are inf, .2, .5, .8, inf."""


@pytest.mark.parametrize(
    ("selection", "fitness", "chosen"),
    [
        (NSGA2(), [*LINE, [0.0, 0.0]], {4: {0, 2, 3, 4}, 3: {0, 3, 4}, 5: {0, 1, 2, 3, 4}}),
        (NSGA2(), [[1.0], [3.0], [2.0], [0.0], [5.0]], {1: {4}, 2: {4, 1}, 4: {4, 1, 2, 0}}),
        # Directions (1, 0) and (0, 1), then (1/2, 1/2) too, from the best corner (10, 10).
        (NSGA3(divisions=1), [[10.0, 0.0], [6.0, 5.0], [0.0, 10.0]], {2: {0, 2}}),
        (NSGA3(divisions=2), [[10.0, 0.0], [0.0, 10.0], [6.0, 6.0], [3.0, 7.0]], {3: {0, 1, 2}}),
        # 0 and 1 are the nearest pair, and 1 is nearer to the others.
        (SPEA2(), [[0.0, 10.0], [1.0, 9.0], [5.0, 5.0], [10.0, 0.0], [0.0, 0.0]], {3: {0, 2, 3}, 4: {0, 1, 2, 3}}),
        (SPEA2(), [[3.0, 3.0], [5.0, 5.0], [4.0, 4.0]], {1: {1}, 2: {1, 2}}),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_by_hand(selection: Selection, fitness: list[list[float]], chosen: dict[int, set[int]], seed: int) -> None:
    for count, expected in chosen.items():
        assert set(selection.select(np.array(fitness), count, np.random.default_rng(seed)).tolist()) == expected


def fronts_by_definition(fitness: np.ndarray) -> list[int]:
    """Return each member's front, from 0: who is dominated by nobody once those before are gone."""
    front = np.full(len(fitness), -1)
    while (front < 0).any():
        left = np.flatnonzero(front < 0)
        others, own = fitness[left][None], fitness[left][:, None]
        dominated = ((others >= own).all(2) & (others > own).any(2)).any(1)
        front[left[~dominated]] = front.max() + 1
    return front.tolist()


@pytest.mark.parametrize("selection", [NSGA2(), NSGA3()])
@given(fitness=arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 3)))
@settings(deadline=None, max_examples=60)
def test_no_later_front_comes_before_an_earlier_one(selection: Selection, fitness: np.ndarray) -> None:
    front, rng = np.array(fronts_by_definition(fitness)), np.random.default_rng(0)
    for count in range(1, len(fitness)):
        chosen = selection.select(fitness, count, rng)
        assert sorted(front[chosen].tolist()) == sorted(front.tolist())[:count]


@pytest.mark.parametrize("selection", [NSGA2(), NSGA3(divisions=4), SPEA2(), TournamentDCD()])
def test_worlds_may_start_anywhere(selection: Selection) -> None:
    # DEAP's NSGA-III takes the best point off twice, and chooses others of 4 in 60 of these tables when they are moved.
    for seed in range(60 if isinstance(selection, NSGA3) else 5):
        fitness = np.random.default_rng(seed).integers(0, 50, (30, 3)).astype(np.float64)
        chosen = [
            selection.select(fitness + moved, 10, np.random.default_rng(1)).tolist()
            for moved in (np.zeros(3), np.array([100.0, -500.0, 1000.0]))
        ]
        assert chosen[0] == chosen[1]


def deaps_own(individuals: list[Candidate], k: int) -> list[Candidate]:
    for front in tools.sortNondominated(individuals, len(individuals)):
        assignCrowdingDist(front)
    return list(tools.selTournamentDCD(individuals, k))


def test_crowded_tournaments_are_deaps() -> None:
    fitness, rng = np.random.default_rng(0).normal(size=(8, 2)), np.random.default_rng(1)
    ours = np.concatenate([TournamentDCD().select(fitness, 8, rng) for _ in range(300)])
    theirs = np.concatenate([select_with_deap(deaps_own, fitness, 8, rng) for _ in range(300)])
    counts = np.stack([np.bincount(ours, minlength=8), np.bincount(theirs, minlength=8)])
    assert chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue > 0.001


def test_everybody_plays_twice_for_each_round() -> None:
    # The two best of four can lose to each other only: each wins once at least.
    fitness = np.array([[0.0], [3.0], [2.0], [1.0]])
    for seed in range(50):
        counts = np.bincount(TournamentDCD().select(fitness, 12, np.random.default_rng(seed)), minlength=4)
        assert counts[1] == 6
        assert counts[0] == 0


@pytest.mark.parametrize(("members", "worlds", "steps"), [(100, 3, 12), (91, 3, 12), (90, 3, 11), (6, 8, 1), (5, 2, 4)])
def test_there_are_no_more_directions_than_members(members: int, worlds: int, steps: int) -> None:
    assert NSGA3()._steps(members, worlds) == steps


def test_too_many_directions_are_refused() -> None:
    with pytest.raises(ValueError, match="divisions: expected at most 10000 reference points, got 766480 from 4 div"):
        NSGA3(divisions=4).select(np.zeros((3, 64)), 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("function", "shape", "count"),
    [
        (partial(tools.selNSGA2, nd="log"), (5, 1), 4),
        (partial(tools.selNSGA3, ref_points=np.eye(2)), (5, 2), 0),
        (deaps_own, (6, 2), 5),
        (deaps_own, (8, 2), 9),
    ],
    ids=["one world", "none", "most", "more"],
)
def test_what_deap_cannot_do_by_itself(function: Any, shape: tuple[int, int], count: int) -> None:
    with pytest.raises((IndexError, ValueError)):
        select_with_deap(function, np.random.default_rng(0).normal(size=shape), count, np.random.default_rng(0))
