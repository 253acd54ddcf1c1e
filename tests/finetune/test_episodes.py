"""Lives are found again in their decisions, and compared within their worlds."""

import numpy as np
import pytest

from finetune.baselines import advantages, leave_one_out, returns_to_go, step_mean
from finetune.episodes import beside_others, lives_of, pairs_of
from finetune.values import Horizon, appraise
from fitness.records import Transitions
from tests.finetune.lives import BARE, Life, poison_world, record


def lived(*lives: tuple[int, int, int]) -> Transitions:
    """Record lives (agent, seed, steps) that end in death: each is worth one less than its steps."""
    return record([Life(agent, seed, [BARE] * n, [0] * n, [(0.5, 0.5)] * n) for agent, seed, n in lives])


FOUR = lived((1, 7, 2), (1, 9, 4), (3, 7, 3), (4, 9, 2))


def test_lives_by_hand() -> None:
    lives = lives_of(FOUR)
    assert len(lives) == 4
    assert lives.agent.tolist() == [1, 1, 3, 4]
    assert lives.seed.tolist() == [7, 9, 7, 9]
    assert lives.first.tolist() == [0, 2, 6, 9]
    assert lives.steps.tolist() == [2, 4, 3, 2]
    assert lives.worth.tolist() == [1, 3, 2, 1]
    assert lives.of.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3]


def test_lives_beside_others_by_hand() -> None:
    contrast, spread = beside_others(lives_of(FOUR))
    assert contrast.tolist() == [-0.5, 1.0, 0.5, -1.0]
    assert spread.tolist() == [0.5, 1.0, 0.5, 1.0]


def test_the_world_cancels() -> None:
    lives = lives_of(poison_world([1, 2, 3]))
    contrast, _ = beside_others(lives)
    for seed in np.unique(lives.seed):
        assert contrast[lives.seed == seed].sum() == pytest.approx(0)


def test_pairs_by_hand() -> None:
    lives = lives_of(FOUR)
    assert pairs_of(lives, 1.0).tolist() == [[2, 0], [1, 3]]
    assert pairs_of(lives, 2.0).tolist() == [[1, 3]]
    assert pairs_of(lives, 9.0).shape == (0, 2)


def test_pairs_are_of_one_world_and_in_order() -> None:
    lives = lives_of(poison_world([1, 2, 3, 4]))
    better, worse = pairs_of(lives, 2.0).T
    assert len(better) > 20
    assert (lives.seed[better] == lives.seed[worse]).all()
    assert (lives.worth[better] - lives.worth[worse] >= 2.0).all()


def test_returns_by_hand() -> None:
    expected = [1, 0, 1.75, 1.5, 1, 0, 1.5, 1, 0, 1, 0]
    np.testing.assert_allclose(returns_to_go(FOUR, 0.5), expected)


def test_the_mean_of_a_step_by_hand() -> None:
    returns = np.array([4.0, 1, 6, 3, 2, 0, 2, 5, 8, 0, 3])
    first, second, third = 12 / 4, 12 / 4, 10 / 2
    np.testing.assert_allclose(
        step_mean(FOUR, returns), [first, second, first, second, third, 0, first, second, third, first, second]
    )


def test_others_in_the_world_by_hand() -> None:
    returns = np.array([4.0, 1, 6, 3, 2, 5, 2, 5, 8, 0, 3])
    np.testing.assert_allclose(leave_one_out(FOUR, returns), [2, 5, 0, 3, 0, 0, 4, 1, 0, 6, 3])  # the dead get nothing


def test_who_is_alone_is_compared_with_itself() -> None:
    alone = lived((1, 7, 3), (2, 8, 2))
    returns = returns_to_go(alone, 0.9)
    np.testing.assert_array_equal(leave_one_out(alone, returns), returns)


def test_others_do_not_depend_on_oneself() -> None:
    returns = np.random.default_rng(0).normal(size=len(FOUR))
    changed = returns + np.where(FOUR.agent == 3, 10.0, 0.0)
    before, after = leave_one_out(FOUR, returns), leave_one_out(FOUR, changed)
    np.testing.assert_allclose(before[FOUR.agent == 3], after[FOUR.agent == 3], atol=1e-12)
    assert (before[:2] != after[:2]).all()  # agent 1 lived beside agent 3


@pytest.mark.parametrize("baseline", ["step", "others"])
def test_counted_advantages_have_no_mean(baseline: str) -> None:
    poison = poison_world(list(range(8)))
    advantage, explained = advantages(poison, baseline, Horizon(discount=0.9))
    assert abs(advantage[poison.step == 0].mean()) < 1e-9  # all took the first step
    assert np.isnan(explained)


def test_the_fitted_value_is_the_usual_one() -> None:
    poison, horizon = poison_world([1, 2]), Horizon(discount=0.9)
    advantage, explained = advantages(poison, "value", horizon)
    np.testing.assert_array_equal(advantage, appraise(poison, horizon).advantage)
    assert explained == appraise(poison, horizon).explained
