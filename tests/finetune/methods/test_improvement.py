"""Policy improvement: what a critic has learnt from all lives moves the chances of all actions."""

import math

import numpy as np
import pytest
import torch

from finetune.critic import Critic, judge_actions, shrunk
from finetune.methods.improvement import PolicyImprovement, improved
from finetune.values import Horizon, appraise
from fitness.errors import ConfigError
from tests.finetune.lives import BARE, EAT, RED, REST, poison_world
from tests.fitness.models import ACTIONS

SMALL = Critic(members=3, phrases=50, width=16, passes=60, learning_rate=0.02)


def test_what_members_disagree_about_is_nothing() -> None:
    said = torch.tensor([[1.0, 3.0, 1.0], [1.0, 1.0, -1.0]])
    # Means 1, 2, 0; spreads 0, sqrt 2, sqrt 2: the second keeps 1 - 1 x 2/4, the third nothing.
    torch.testing.assert_close(shrunk(said, doubt=1.0), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(shrunk(said, doubt=0.0), torch.tensor([1.0, 2.0, 0.0]))


def test_the_critic_finds_poison_and_blames_no_bystander() -> None:
    lived = poison_world(agents=range(8), lives=12)
    advantage = appraise(lived, Horizon()).advantage
    worth = judge_actions(lived, advantage, len(ACTIONS), SMALL, np.random.default_rng(0)).worth
    red, bare = (np.flatnonzero(lived.observation == text)[0] for text in (RED, BARE))
    assert worth[red, EAT] < worth[red, REST] - 0.5
    assert abs(worth[bare, EAT] - worth[bare, REST]) < 0.5
    again = judge_actions(lived, advantage, len(ACTIONS), SMALL, np.random.default_rng(0)).worth
    np.testing.assert_array_equal(worth, again)  # all chance is the generator's


def test_a_single_life_is_enough_for_a_critic() -> None:
    lived = poison_world(agents=[0], lives=1)
    for seed in range(6):  # with most of them, some member would see nothing
        said = judge_actions(lived, np.ones(len(lived)), len(ACTIONS), SMALL, np.random.default_rng(seed))
        assert np.isfinite(said.worth).all()
        assert np.isfinite(said.usual).all()


def test_the_critic_knows_what_is_usual() -> None:
    lived = poison_world(agents=range(8), lives=12)
    usual = np.exp(judge_actions(lived, np.ones(len(lived)), len(ACTIONS), SMALL, np.random.default_rng(0)).usual)
    np.testing.assert_allclose(usual.sum(axis=1), 1, atol=1e-6)
    for text in (RED, BARE):  # all that anybody does there is to eat or to rest, about as often
        there = usual[np.flatnonzero(lived.observation == text)[0]]
        assert 0.35 < there[EAT] < 0.65
        assert there[EAT] + there[REST] > 0.95


def test_the_improved_policy_by_hand() -> None:
    start = torch.tensor([[[0.70, 0.29, 0.01]]]).log()
    tilt = torch.tensor([[[0.0, math.log(2.0), math.log(100.0)]]])
    never = torch.tensor([[[0.98, 0.01, 0.01]]]).log()
    # The third is too rare to be made likelier: 0.70, 0.58 and 0.01, normalised.
    made = improved(start, tilt, never, support=0.05, adopted=0.0).exp()
    torch.testing.assert_close(made, torch.tensor([[[0.70, 0.58, 0.01]]]) / 1.29)
    free = improved(start, tilt, never, support=0.0, adopted=0.0).exp()
    torch.testing.assert_close(free, torch.tensor([[[0.70, 0.58, 1.00]]]) / 2.28)
    rarer = improved(start, -tilt, never, support=0.05, adopted=0.0).exp()  # but it is made rarer
    torch.testing.assert_close(rarer, torch.tensor([[[0.70, 0.145, 0.0001]]]) / 0.8451)
    torch.testing.assert_close(improved(start, torch.zeros_like(tilt), never, 0.05, 0.0), start)


def test_what_others_do_there_is_within_reach() -> None:
    start = torch.tensor([[[0.70, 0.29, 0.01]]]).log()
    tilt = torch.tensor([[[0.0, 0.0, math.log(100.0)]]])
    usual = torch.tensor([[[0.04, 0.01, 0.95]]]).log()
    made = improved(start, tilt, usual, support=0.05, adopted=0.0).exp()  # it has been seen, so it is believed
    torch.testing.assert_close(made, torch.tensor([[[0.70, 0.29, 1.00]]]) / 1.99)
    mixed = improved(start, tilt, usual, support=0.05, adopted=0.2).exp()  # of usual actions: 0.8 x 0.01 + 0.2 x 0.95
    torch.testing.assert_close(mixed, torch.tensor([[[0.70, 0.29, 19.8]]]) / 20.79)


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0.0},
        {"support": 1.0},
        {"adopted": 1.0},
        {"urgent": 1.0},
        {"strictness": -1.0},
        {"share": 0.0},
        {"decisions": 0},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PolicyImprovement(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"members": 1}, {"part": 1.0}, {"learning_rate": 0.0}, {"doubt": -1.0}])
def test_no_critic_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Critic(**wrong)  # type: ignore[arg-type]
