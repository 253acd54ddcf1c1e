"""Self-adaptation: unbiased on the log scale, bounded, mixed from both parents."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.genome import StepSizes
from evo.operators.step_sizes import LogNormalAdaptation
from fitness.errors import ConfigError

STEPS = st.builds(StepSizes, strategy=st.floats(0.001, 1), adapter=st.floats(0.001, 10))


@given(st.lists(STEPS, min_size=1, max_size=2), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_results_stay_in_bounds_and_repeat(parents: list[StepSizes], seed: int) -> None:
    rule = LogNormalAdaptation(strategy=(0.1, 0.2), adapter=(0.3, 0.4))
    child = rule.inherit(parents, 8, 100, np.random.default_rng(seed))
    assert child == rule.inherit(parents, 8, 100, np.random.default_rng(seed))
    assert 0.1 <= child.strategy <= 0.2
    assert 0.3 <= child.adapter <= 0.4


def test_change_is_log_normal_with_tau() -> None:
    rule, rng = LogNormalAdaptation(), np.random.default_rng(0)
    parent = StepSizes(strategy=0.1, adapter=0.1)
    children = [rule.inherit([parent], 8, 10**6, rng) for _ in range(3000)]
    logs = np.log([[child.strategy / 0.1, child.adapter / 0.1] for child in children])
    np.testing.assert_allclose(logs.mean(axis=0), 0.0, atol=0.02)
    # 8 slots: tau = 1 / sqrt(16) = 0.25; a million weights would give 0.0007, bounded to 0.05.
    np.testing.assert_allclose(logs.std(axis=0), [0.25, 0.05], rtol=0.05)


def test_two_parents_give_their_geometric_mean() -> None:
    rule = LogNormalAdaptation(tau=(0.0, 0.0))
    parents = [StepSizes(strategy=0.1, adapter=0.02), StepSizes(strategy=0.4, adapter=0.08)]
    child = rule.inherit(parents, 8, 100, np.random.default_rng(0))
    assert child.strategy == pytest.approx(0.2)
    assert child.adapter == pytest.approx(math.sqrt(0.02 * 0.08))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"tau": (0.3, 0.1)}, r"tau\[1\]: expected a number from 0.3 to 10, got 0.1"),
        ({"strategy": (0.1, 2.0)}, r"strategy\[1\]: expected a number from 0.1 to 1, got 2.0"),
        ({"adapter": (0.0, 2.0)}, r"adapter\[0\]: expected a number of at least 1e-09, got 0.0"),
    ],
)
def test_bad_bounds_are_refused(bounds: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LogNormalAdaptation(**bounds)


def test_habits_of_learning_are_bred_where_they_have_bounds_and_cost_no_chance_where_not() -> None:
    parents, off, on = [StepSizes(strategy=0.1, adapter=0.1, rate=4.0)], LogNormalAdaptation(), (0.5, 8.0)
    fixed, varied = (rule.inherit(parents, 8, 100, np.random.default_rng(3)) for rule in (off, replace(off, rate=on)))
    assert (fixed.strategy, fixed.adapter) == (varied.strategy, varied.adapter)
    assert (fixed.rate, fixed.beta, varied.beta) == (1.0, 1.0, 1.0)
    rule, rng = LogNormalAdaptation(rate=on, beta=(0.9, 1.1)), np.random.default_rng(0)
    children = [rule.inherit(parents, 8, 100, rng) for _ in range(2000)]
    logs = np.log([child.rate / 4.0 for child in children])
    assert abs(np.median(logs)) < 0.03
    assert np.std(logs[logs < 0], ddof=0) == pytest.approx(0.3 * math.sqrt(1 - 2 / math.pi), rel=0.1)  # tau, halved
    assert max(child.rate for child in children) == 8.0
    assert {child.beta for child in children} >= {0.9, 1.1}
    both = LogNormalAdaptation(tau=(0.0, 0.0), rate=on).inherit([replace(parents[0], rate=1.0), *parents], 8, 9, rng)
    assert both.rate == pytest.approx(2.0)
    with pytest.raises(ConfigError, match=r"rate\[0\]: expected a number from 0.001 to 1000, got 0"):
        LogNormalAdaptation(rate=(0, 2.0))
