"""Racing: the plan costs no more, bounds are those of the textbook, and the best are hardly ever dropped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from evo.racing import Rung, advance, excluded, paired, rungs
from fitness.errors import ConfigError


def test_rungs_by_hand() -> None:
    plan = (Rung(genomes=24, worlds=2), Rung(genomes=12, worlds=6), Rung(genomes=6, worlds=12))
    assert rungs(24, 8, 6) == plan
    assert rungs(24, 8, 24) == (Rung(genomes=24, worlds=8),)
    assert rungs(24, 1, 6) == (Rung(genomes=24, worlds=1),)


@given(st.integers(1, 300), st.integers(1, 40), st.data())
@settings(deadline=None)
def test_a_race_costs_no_more_and_wastes_less_than_a_world(genomes: int, worlds: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(1, genomes))
    plan = rungs(genomes, worlds, keep)
    cost = sum(rung.genomes * rung.worlds for rung in plan)
    assert genomes * worlds - plan[-1].genomes < cost <= genomes * worlds
    sizes = [rung.genomes for rung in plan]
    assert sizes[0] == genomes
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == keep or len(plan) == worlds


def test_pairs_are_those_of_the_worlds_that_both_lived_in() -> None:
    lived = np.array([[10.0, 20.0, 30.0, np.nan], [13.0, 21.0, np.nan, 9.0]])
    means, variances, counts = paired(lived)
    assert counts.tolist() == [[3, 2], [2, 3]]
    assert means[0] == pytest.approx([0.0, 2.0])  # the other minus the genome: 3 and 1
    assert means[1] == pytest.approx([-2.0, 0.0])
    assert variances == pytest.approx(np.array([[0.0, 2.0], [2.0, 0.0]]))


@given(st.integers(0, 500))
@settings(deadline=None)
def test_of_two_the_bound_is_that_of_the_paired_t_test(seed: int) -> None:
    lived = np.random.default_rng(seed).normal([[0.0], [0.8]], 1.0, (2, 6))
    out = ttest_rel(lived[1], lived[0], alternative="greater").pvalue < 0.05
    behind = ttest_rel(lived[0], lived[1], alternative="greater").pvalue < 0.05
    assert excluded(lived, keep=1, prior=0.0).tolist() == [out, behind]


def test_luck_of_the_world_cancels() -> None:
    worlds = np.array([30.0, 120.0, 60.0, 90.0])
    lived = np.stack([worlds, worlds + np.array([4.0, 5.0, 6.0, 5.0])])
    assert excluded(lived, keep=1).tolist() == [True, False]
    assert excluded(np.stack([worlds, lived[1][::-1]]), keep=1).tolist() == [False, False]


def test_two_equal_differences_prove_nothing_where_others_vary() -> None:
    rng = np.random.default_rng(0)
    lived = rng.integers(25, 128, (10, 2)).astype(float)
    lived[1] = lived[0] + 1.0
    assert not excluded(lived, keep=1)[0]
    assert excluded(lived[:2], keep=1, prior=0.0)[0]  # the pair alone would be sure


def test_who_is_kept_needs_as_many_better_ones_to_be_out() -> None:
    lived = np.array([[10.0], [20.0], [30.0], [40.0]]) + np.random.default_rng(0).normal(0, 0.1, (4, 8))
    assert [int(excluded(lived, keep).sum()) for keep in (1, 2, 3, 4)] == [3, 2, 1, 0]


def test_the_truly_best_are_seldom_dropped_and_the_worst_often() -> None:
    rng, best, worst = np.random.default_rng(1), 0, 0
    for _ in range(200):
        luck = rng.normal(0, 20, 8) + rng.normal(0, 15, (12, 8))
        out = excluded(np.minimum(128, np.ceil(60 + np.arange(12)[:, None] * 3 + luck)), keep=3)
        best, worst = best + int(out[-3:].sum()), worst + int(out[0])
    assert best / 600 < 0.01
    assert worst / 200 > 0.5


def test_who_never_lived_is_not_out_and_nothing_is_changed() -> None:
    lived = np.array([[np.nan, np.nan], [30.0, 31.0], [1.0, 2.0]])
    before = lived.copy()
    assert excluded(lived, keep=1).tolist() == [False, False, True]
    np.testing.assert_array_equal(lived, before)
    assert excluded(np.zeros((3, 0)), keep=1).tolist() == [False] * 3


def test_the_best_by_score_go_on() -> None:
    lived, alive = np.zeros((4, 0)), np.array([True, True, False, True])
    assert advance(lived, np.array([1.0, 3.0, 9.0, 3.0]), alive, 2, 1).tolist() == [False, True, False, True]
    assert advance(lived, np.zeros(4), alive, 2, 1).tolist() == [True, True, False, False]
    sure = np.array([[1.0, 1.2], [9.0, 9.1], [5.0, 5.0], [9.2, 9.1]])
    assert advance(sure, np.array([9.0, 3.0, 2.0, 1.0]), np.ones(4, bool), 4, 2).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [((24, 8, 25), "keep: expected"), ((24, 0, 6), "worlds: expected"), ((0, 8, 1), "genomes: expected")],
)
def test_impossible_plans_are_refused(arguments: tuple[int, int, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        rungs(*arguments)


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="lived: expected numbers or NaN"):
        excluded(np.array([1.0, 2.0]), keep=1)
    with pytest.raises(ConfigError, match=r"confidence: expected a number from 0\.5 to 1"):
        excluded(np.zeros((2, 2)), keep=1, confidence=0.1)
