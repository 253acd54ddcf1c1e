"""Intervals mean what they say: hand-worked cases, known coverage, and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.report.statistics import bootstrap_interval, score_interval

LIFESPANS = st.lists(st.integers(0, 200), min_size=2, max_size=30)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_two_values_resample_to_three_means() -> None:
    # Two draws from {0, 1} have mean 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    assert bootstrap_interval([0, 1], _rng(), level=0.95) == (0.5, 0.0, 1.0)
    assert bootstrap_interval([0, 1], _rng(), level=0.4) == (0.5, 0.5, 0.5)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    interval = bootstrap_interval(values, _rng(), resamples=4000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_another_statistic_can_be_had() -> None:
    interval = bootstrap_interval([1, 2, 30], _rng(), statistic=lambda samples: np.median(samples, axis=-1))
    assert interval == (2.0, 1.0, 30.0)


def test_many_values_are_resampled_in_blocks_that_change_nothing_but_memory() -> None:
    values = np.arange(300_000) % 7
    interval = bootstrap_interval(values, _rng(), resamples=20)
    assert interval.low < values.mean() < interval.high
    assert interval.high - interval.low < 0.02


def test_score_of_hand_worked_lifespans() -> None:
    # Means 6, 2 and 10: (6 - 2) / (10 - 2). Every seed gives the same, so the interval has no width.
    assert score_interval([6, 6], [2, 2], [10, 10], _rng()) == (0.5, 0.5, 0.5)


def test_seeds_are_resampled_together() -> None:
    # A seed is worth ten times another, for all three policies alike. By seed the score is always 1/2; groups that were
    # resampled each on its own would give anything from below 0 to far above 1.
    worth = np.array([1.0, 10.0, 1.0, 10.0])
    interval = score_interval(6 * worth, 2 * worth, 10 * worth, _rng())
    assert interval == pytest.approx((0.5, 0.5, 0.5))


def test_two_seeds_give_three_possible_scores() -> None:
    # Seed 0 alone: (4 - 0) / 10; seed 1 alone: (8 - 0) / 10; one of each: 0.6.
    interval = score_interval([4, 8], [0, 0], [10, 10], _rng())
    assert interval == pytest.approx((0.6, 0.4, 0.8))


@given(LIFESPANS)
def test_random_scores_0_and_expert_1_without_doubt(lifespans: list[int]) -> None:
    lowest = np.array(lifespans, float)
    highest = lowest + 50
    assert score_interval(lowest, lowest, highest, _rng()) == pytest.approx((0, 0, 0))
    assert score_interval(highest, lowest, highest, _rng()) == pytest.approx((1, 1, 1))


@settings(max_examples=30)
@given(LIFESPANS, st.integers(1, 5), st.integers(-3, 3))
def test_the_unit_of_time_does_not_matter(lifespans: list[int], scale: int, shift: int) -> None:
    policy = np.array(lifespans, float)
    lowest, highest = np.zeros(len(policy)), np.full(len(policy), 100.0)
    plain = score_interval(policy, lowest, highest, _rng(), resamples=200)
    other = score_interval(*(scale * group + shift for group in (policy, lowest, highest)), _rng(), resamples=200)
    assert other == pytest.approx(plain, abs=1e-9)


@settings(max_examples=30)
@given(LIFESPANS, st.floats(0.5, 0.99))
def test_a_higher_level_never_narrows(lifespans: list[int], level: float) -> None:
    narrow = bootstrap_interval(lifespans, _rng(), level=level, resamples=200)
    wide = bootstrap_interval(lifespans, _rng(), level=0.995, resamples=200)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_the_same_generator_gives_the_same_interval() -> None:
    values = [3, 1, 4, 1, 5, 9, 2, 6]
    assert bootstrap_interval(values, _rng()) == bootstrap_interval(values, _rng())


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (([1, 2], [0], [3, 4]), "expected one per seed in all three groups, got 2, 1, 2"),
        (([], [], []), r"lifespans: expected shape \[n\] with n at least 1, got \(0,\)"),
        (([1, np.nan], [0, 0], [3, 4]), "lifespans: expected finite numbers, got nan"),
        (([1, 2], [5, 5], [5, 5]), "expert_lifespans: expected a mean above the random policy's 5, got 5"),
    ],
)
def test_groups_that_make_no_score_are_refused(groups: tuple[list[float], ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        score_interval(*groups, _rng())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="level: expected a number between 0 and 1, got 95"):
        bootstrap_interval([1], _rng(), level=95)
    with pytest.raises(ValueError, match="resamples: expected at least 1, got 0"):
        bootstrap_interval([1], _rng(), resamples=0)
