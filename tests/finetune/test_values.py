"""Advantages by hand, and what the fitted value learns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.values import Horizon, appraise, gae, is_last, situation_features
from fitness.errors import ConfigError
from fitness.records import Transitions
from tests.finetune.lives import EAT, RED, Life, poison_world, record

DIED = Life(1, 5, ("a", "b", "c"), (0, 0, 0), ((0.1,), (0.2,), (0.3,)))
OUTLIVED = Life(1, 6, ("a", "b"), (0, 0), ((0.1,), (0.2,)), died=False)
VALUE = np.array([2.0, 1.0, 4.0, 3.0, 2.0])
SURPRISE = [
    1 + 0.5 * 1 - 2,
    1 + 0.5 * 4 - 1,
    0 + 0.5 * 0 - 4,  # dead: nothing follows
    1 + 0.5 * 2 - 3,
    1 + 0.5 * 2 - 2,  # alive at the end: goes on as its last value says
]


def two_lives() -> Transitions:
    return record([DIED, OUTLIVED])


def advantages(trace: float) -> np.ndarray:
    lived = two_lives()
    return gae(lived, is_last(lived), VALUE, Horizon(discount=0.5, trace=trace))


def test_the_last_decision_of_each_episode_is_found() -> None:
    lived = record([DIED, OUTLIVED, Life(2, 6, ("a",), (0,), ((0.0,),))])
    assert is_last(lived).tolist() == [False, False, True, False, True, True]


def test_advantages_by_hand() -> None:
    expected = [-0.5 + 0.25 * 1.0, 2.0 + 0.25 * -4.0, -4.0, -1.0 + 0.25 * 0.0, 0.0]
    np.testing.assert_allclose(advantages(trace=0.5), expected)


def test_lambda_zero_is_the_temporal_difference() -> None:
    np.testing.assert_allclose(advantages(trace=0.0), SURPRISE)


def test_lambda_one_is_the_life_as_it_was_lived() -> None:
    returns = [1 + 0.5 * 1, 1.0, 0.0, 1 + 0.5 * (1 + 0.5 * 2), 1 + 0.5 * 2]
    np.testing.assert_allclose(VALUE + advantages(trace=1.0), returns)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6),
    trace=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_no_episode_leaks_into_another(lengths: list[tuple[int, bool]], trace: float, seed: int) -> None:
    lives = [Life(1, i, ("a",) * n, (0,) * n, ((0.0,),) * n, died) for i, (n, died) in enumerate(lengths)]
    horizon, value = Horizon(trace=trace), np.random.default_rng(seed).normal(size=sum(n for n, _ in lengths))
    together, begin = record(lives), 0
    everything = gae(together, is_last(together), value, horizon)
    for life in lives:
        alone, end = record([life]), begin + len(life.actions)
        np.testing.assert_array_equal(everything[begin:end], gae(alone, is_last(alone), value[begin:end], horizon))
        begin = end


def remaining(length: int, discount: float) -> list[float]:
    """Discounted steps of life to come before each of `length` decisions, the last of which is deadly."""
    return [(1 - discount ** (length - 1 - t)) / (1 - discount) for t in range(length)]


def test_a_value_that_is_linear_in_a_vital_is_recovered() -> None:
    vitals = [remaining(length, 0.9) for length in (3, 8, 5, 12, 9, 2)]
    lives = [
        Life(1, i, ("same",) * len(life), (0,) * len(life), [(v, 1.0) for v in life]) for i, life in enumerate(vitals)
    ]
    appraisal = appraise(record(lives), Horizon(discount=0.9, trace=1.0), ridge=1e-6)
    np.testing.assert_allclose(appraisal.value, np.concatenate(vitals), atol=1e-3)
    np.testing.assert_allclose(appraisal.advantage, 0, atol=1e-3)
    assert appraisal.explained > 0.999


def test_survivors_are_not_taken_for_the_dead() -> None:
    lives = [Life(1, i, ("safe",) * 30, (0,) * 30, ((1.0,),) * 30, died=False) for i in range(3)]
    lives += [Life(2, i, ("doom",) * 3, (0,) * 3, ((0.0,),) * 3) for i in range(3)]
    appraisal = appraise(record(lives), Horizon(discount=0.9), rounds=30)
    assert appraisal.value[0] == pytest.approx(10, abs=0.5)  # 1 / (1 - 0.9): for ever
    assert appraisal.value[-1] < 2


def test_swallowing_poison_is_blamed_at_once() -> None:
    lived = poison_world(agents=range(6))
    advantage = appraise(lived, Horizon(trace=0.0)).advantage
    matters = lived.vitals[:, 0] > 0.15  # the last step is deadly whatever is done
    red, ate = lived.observation == RED, lived.action == EAT
    assert advantage[matters & red & ate].max() < 0
    assert advantage[matters & red & ~ate].min() > 0
    assert abs(advantage[matters & ~red & ate].mean() - advantage[matters & ~red & ~ate].mean()) < 0.05


def test_features_are_standardised_and_constant_columns_dropped() -> None:
    vitals = [(0.1, 7.0), (0.5, 7.0), (0.9, 7.0)]
    features = situation_features(record([Life(1, 1, ("x y",) * 3, (0,) * 3, vitals)]))
    assert features.shape == (3, 3)  # the first vital, its square, its product with the constant
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(features.std(axis=0), 1)


def test_what_the_text_says_is_no_part_of_the_value() -> None:
    vitals = ((0.9,), (0.4,), (0.7,))
    texts = (("here red", "wolf", "den"), ("a",) * 3)
    said, unsaid = (record([Life(1, 1, lines, (0,) * 3, vitals)]) for lines in texts)
    np.testing.assert_array_equal(situation_features(said), situation_features(unsaid))


def test_where_nothing_differs_nothing_is_explained() -> None:
    appraisal = appraise(record([Life(1, i, ("a",), (0,), ((0.5,),)) for i in range(3)]), Horizon())
    assert appraisal.explained == 0
    np.testing.assert_array_equal(appraisal.advantage, 0)


def test_the_order_in_which_agents_are_recorded_does_not_matter() -> None:
    lives = [
        Life(agent, 1, [f"w{i}" for i in range(4)], (0,) * 4, [(0.1 * agent * i,) for i in range(4)], died)
        for agent, died in ((1, True), (2, False), (3, True))
    ]
    forwards, backwards = (appraise(record(order), Horizon()).advantage for order in (lives, lives[::-1]))
    np.testing.assert_allclose(forwards.reshape(3, 4), backwards.reshape(3, 4)[::-1], atol=1e-9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"discount": 1.0}, r"discount: expected a number between 0 and 1, got 1\.0"),
        ({"discount": float("nan")}, "discount: expected a number between 0 and 1, got nan"),
        ({"trace": 1.2}, r"trace: expected a number from 0 to 1, got 1\.2"),
    ],
)
def test_a_horizon_out_of_range_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Horizon(**fields)
