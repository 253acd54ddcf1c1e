"""Estimates: equal to the formulas, blind to the luck of worlds, and honest about what is best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from evo.noise import adjusted_means, corrected_best
from fitness.errors import ConfigError


def test_of_one_world_at_a_time_means_are_shrunken_means() -> None:
    # Nobody shares a world, so that its worth cannot be told from the genome's: the prior is all that is known.
    lived = np.array([[50.0, np.nan], [np.nan, 70.0]])
    assert adjusted_means(lived, np.array([40.0, 60.0]), np.array([1.0, 3.0])) == pytest.approx([40.0, 60.0])


def test_two_in_the_same_worlds_by_hand() -> None:
    # Equal priors: of a difference of 10 in n = 2 worlds, n / (n + weight) is believed, around the prior.
    lived = np.array([[30.0, 80.0], [40.0, 90.0]])
    first, second = adjusted_means(lived, np.array([50.0, 50.0]), np.array([2.0, 2.0]))
    assert (first, second) == pytest.approx((47.5, 52.5))


@given(st.integers(0, 200))
@settings(deadline=None)
def test_they_solve_the_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genomes, worlds = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    lived = rng.normal(60, 20, (genomes, worlds))
    lived[rng.random((genomes, worlds)) < 0.3] = np.nan
    prior, weight = rng.normal(60, 5, genomes), rng.uniform(0.5, 4, genomes)
    rows, sides = [], []
    for i, w in zip(*np.nonzero(~np.isnan(lived)), strict=True):
        rows.append(np.eye(genomes + worlds)[i] + np.eye(genomes + worlds)[genomes + w])
        sides.append(lived[i, w])
    for i in range(genomes):
        rows.append(np.eye(genomes + worlds)[i] * np.sqrt(weight[i]))
        sides.append(prior[i] * np.sqrt(weight[i]))
    expected = np.linalg.lstsq(np.array(rows), np.array(sides))[0][:genomes]
    assert adjusted_means(lived, prior, weight) == pytest.approx(expected)


def test_kind_worlds_make_nobody_better() -> None:
    incumbents, kind = np.array([60.0, 50.0]), 25.0
    lived = np.array([[60.0, 60.0], [50.0, 50.0], [55.0, 55.0]])
    means = [
        adjusted_means(values, np.append(incumbents, np.nan), np.array([40.0, 40.0, 2.0]))
        for values in (lived, lived + kind)
    ]
    assert means[0] == pytest.approx(means[1])
    assert means[0] == pytest.approx([60.0, 50.0, 55.0])


def test_newcomers_are_drawn_to_each_other_not_to_incumbents() -> None:
    lived = np.array([[80.0, 80.0], [40.0, 40.0], [60.0, 60.0]])
    prior, weight = np.array([80.0, np.nan, np.nan]), np.array([100.0, 2.0, 2.0])
    means = adjusted_means(lived, prior, weight)
    assert means[1:].mean() == pytest.approx(50.0, abs=0.5)
    assert 40.0 < means[1] < means[2] < 60.0
    assert adjusted_means(lived, np.full(3, np.nan), weight[[1, 1, 1]]).mean() == pytest.approx(60.0)


def test_less_error_than_plain_means_when_worlds_differ() -> None:
    rng, plain, ours = np.random.default_rng(0), 0.0, 0.0
    for _ in range(200):
        truth = rng.normal(60, 8, 12)
        known = truth[:4] + rng.normal(0, 2, 4)
        lived = truth[:, None] + rng.normal(0, 20, 8) + rng.normal(0, 20, (12, 8))
        means = adjusted_means(lived, np.append(known, np.full(8, np.nan)), np.repeat([50.0, 4.0], [4, 8]))
        plain += float(((lived.mean(axis=1) - truth)[4:] ** 2).mean())
        ours += float(((means - truth)[4:] ** 2).mean())
    assert ours < 0.5 * plain


@pytest.mark.parametrize(
    ("prior", "weight"), [([1.0], [1.0, 1.0]), ([1.0, np.inf], [1.0, 1.0]), ([1.0, 1.0], [1.0, 0.0])]
)
def test_what_does_not_fit_is_refused(prior: list[float], weight: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected lived \[G, S\], prior \[G\] and weight \[G\] above 0"):
        adjusted_means(np.zeros((2, 3)), np.array(prior), np.array(weight))


def test_the_corrected_best_by_hand() -> None:
    best = corrected_best({7: [10.0, 20.0, 30.0], 3: [40.0, 20.0, 30.0], 5: [1.0, 2.0]})
    assert (best.genome, best.mean, best.count) == (3, 30.0, 3)
    margin = student.ppf(1 - 0.05 / 2 / 3, 2) * 10 / np.sqrt(3)
    assert best.interval == pytest.approx((30 - margin, 30 + margin))


def test_of_equal_candidates_the_older_is_best() -> None:
    assert corrected_best({4: [10.0, 20.0], 2: [20.0, 10.0]}).genome == 2


def test_the_interval_holds_whoever_turns_out_best() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        truth = np.full(8, 60.0)  # nothing to choose: the best is the luckiest
        fresh = {i: rng.normal(truth[i], 20.0, 10) for i in range(8)}
        best = corrected_best(fresh)
        held += best.interval[0] <= truth[best.genome] <= best.interval[1]
    assert held / 400 >= 0.95


@pytest.mark.parametrize("fresh", [{}, {1: [5.0]}, {1: [5.0, np.nan]}, {1: [[5.0, 6.0]]}])
def test_what_cannot_be_judged_is_refused(fresh: dict[int, list[float]]) -> None:
    with pytest.raises(ValueError, match="fresh"):
        corrected_best(fresh)
    with pytest.raises(ConfigError, match="confidence"):
        corrected_best({1: [1.0, 2.0]}, confidence=2.0)
