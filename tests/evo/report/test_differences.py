"""What is said of two groups of runs: hand-worked cases, and a second way to compute each."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import trim_mean

from evo.report.curves import Curve, area_under
from evo.report.differences import difference, holm, mann_whitney, probability_of_improvement, vargha_delaney
from evo.report.statistics import interquartile_mean, stratified_interval


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_middle_half_of_hand_worked_values() -> None:
    assert interquartile_mean(np.array([9.0, 1.0, 3.0, 5.0])) == 4.0  # 1 and 9 are cut off
    assert interquartile_mean(np.array([1.0, 2.0, 9.0])) == 4.0  # a quarter of three is nobody
    values = _rng().normal(size=(3, 11))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=-1))


def test_strata_are_resampled_each_on_its_own() -> None:
    # Within a stratum all runs are the same, so nothing is in doubt, however different the strata are.
    assert stratified_interval([[1, 1, 1, 1], [5, 5, 5, 5]], _rng()) == (3.0, 3.0, 3.0)
    pooled = stratified_interval([[1, 1, 1, 1, 5, 5, 5, 5]], _rng())
    assert pooled.low < 2 < 4 < pooled.high


def test_effect_of_hand_worked_groups() -> None:
    assert vargha_delaney([[2, 3]], [[1, 1]]) == (1.0, "large")
    assert vargha_delaney([[1, 3]], [[2, 3]]) == (0.375, "small")  # 0 + 0 + 1 + 1/2 of four
    assert vargha_delaney([[1, 2]], [[1, 2]]) == (0.5, "negligible")
    assert vargha_delaney([[2, 3], [1]], [[1, 1], [2]]) == (0.5, "negligible")  # one environment each way


def test_words_for_effects_begin_where_the_paper_says() -> None:
    def of(hundredths: int) -> str:
        return vargha_delaney([[1.0] * hundredths + [0.0] * (100 - hundredths)], [[0.5]]).magnitude

    assert [of(n) for n in (55, 56, 63, 64, 70, 71, 29)] == [
        "negligible", "small", "small", "medium", "medium", "large", "large"
    ]  # fmt: skip


def test_the_interval_of_improvement_is_that_of_resampled_runs() -> None:
    first, second = _rng(1).normal(0.5, 1, 12), _rng(2).normal(0, 1, 9)
    found = probability_of_improvement([first], [second], _rng())
    rng, draws = _rng(3), []
    for _ in range(4000):
        x, y = rng.choice(first, 12), rng.choice(second, 9)
        draws.append(np.mean([(a > b) + (a == b) / 2 for a in x for b in y]))
    assert found.value == vargha_delaney([first], [second]).a
    assert found[1:] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.025)


def test_a_certain_improvement_has_no_doubt() -> None:
    assert probability_of_improvement([[3, 4]], [[1, 2]], _rng()) == pytest.approx((1, 1, 1))


def test_the_difference_of_two_runs_each() -> None:
    # Means of two draws from {0, 2} and from {10, 10}: 0, 1 or 2 less 10.
    assert difference([[0, 2]], [[10, 10]], _rng()) == (-9.0, -10.0, -8.0)
    found = difference([_rng(1).normal(3, 1, 400)], [_rng(2).normal(1, 2, 400)], _rng())
    assert found.low < 2 < found.high
    assert found.high - found.low < 0.7


def test_p_values_are_shares_of_all_orders() -> None:
    scores, mine = np.array([0.3, 0.5, 0.9, 0.1, 0.2, 0.4, 0.6]), [0, 1, 2]

    def wins(chosen: tuple[int, ...]) -> int:
        rest = [i for i in range(7) if i not in chosen]
        return sum(scores[i] > scores[j] for i in chosen for j in rest)

    every = np.array([wins(chosen) for chosen in combinations(range(7), 3)])
    share = np.mean(abs(every - 6) >= abs(wins((0, 1, 2)) - 6))
    assert mann_whitney([scores[mine]], [np.delete(scores, mine)]) == pytest.approx(share)


def test_p_values_over_environments_are_those_of_shuffles_within_each() -> None:
    groups = [(_rng(4).normal(0.6, 1, 8).round(1), _rng(5).normal(0, 1, 8).round(1)) for _ in range(1)]
    groups.append((_rng(6).normal(1, 3, 10), _rng(7).normal(0, 3, 6)))

    def weighed(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        return sum((np.sign(x[:, None] - y).sum() / 2) / (len(x) + len(y) + 1) for x, y in pairs)

    rng, seen = _rng(8), []
    for _ in range(4000):
        mixed = [(rng.permutation(np.concatenate(pair)), len(pair[0])) for pair in groups]
        seen.append(weighed([(all_[:n], all_[n:]) for all_, n in mixed]))
    share = np.mean(np.abs(seen) >= abs(weighed(groups)) - 1e-9)
    assert mann_whitney(*zip(*groups, strict=True)) == pytest.approx(share, abs=0.03)


def test_groups_that_are_all_the_same_differ_in_nothing() -> None:
    assert mann_whitney([[0.5] * 10], [[0.5] * 10]) == 1.0
    assert mann_whitney([[1, 1], [2]], [[1], [2, 2]]) == 1.0


def test_holm_by_hand() -> None:
    # 0.01 x 3; 0.03 x 2; 0.04 x 1 may not fall below it.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0
    with pytest.raises(ValueError, match="p_values: expected"):
        holm([0.1, np.nan])


def test_groups_of_different_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="expected as many strata"):
        vargha_delaney([[1], [2]], [[1]])
    with pytest.raises(ValueError, match=r"first\[0\]: expected finite numbers"):
        mann_whitney([[np.nan]], [[1]])


def test_area_of_hand_worked_curves() -> None:
    curve = Curve(np.array([0.0, 10, 20]), np.array([0.0, 1, 1]))
    assert area_under(curve, 0, 20) == pytest.approx(0.75)
    assert area_under(curve, 5, 15) == pytest.approx((0.75 * 5 + 1 * 5) / 10)
    late = Curve(np.array([0.0, 10, 20]), np.array([0.0, 0, 1]))
    assert area_under(late, 0, 20) == pytest.approx(0.25)  # as good at the end, but later
    grid = np.linspace(5, 15, 100_001)
    assert area_under(curve, 5, 15) == pytest.approx(curve.at(grid).mean(), abs=1e-4)


def test_curves_are_compared_where_they_are_known() -> None:
    with pytest.raises(ValueError, match="which the curve spans, got 0 and 30"):
        area_under(Curve(np.array([0.0, 20]), np.array([0.0, 1])), 0, 30)
    with pytest.raises(ValueError, match="spent: expected rising numbers"):
        Curve(np.array([0.0, 0.0]), np.array([0.0, 1]))
