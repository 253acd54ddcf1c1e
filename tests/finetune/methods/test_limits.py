"""What methods become in their limits, by the gradients that reach the adapters through the model."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune.batches import Batch, make_batch
from finetune.episodes import lives_of
from finetune.losses import of_taken
from finetune.methods.advantage_weighted import AdvantageWeighted
from finetune.methods.base import Lesson, Loss, Method
from finetune.methods.distillation import Distillation
from finetune.methods.dpo import TrajectoryPreference
from finetune.methods.grpo import GroupRelative
from finetune.methods.regression import AdvantageRegression
from finetune.methods.rejection import Rejection
from finetune.policies import Policies
from finetune.values import appraise
from fitness.agent import Agent
from fitness.model import PopulationModel
from tests.finetune.lives import poison_world
from tests.fitness.models import ACTIONS, agents, population_model, save_tiny

LIVED = poison_world([10, 11, 12], lives=3)
ALL = len(LIVED)


class Step(NamedTuple):
    """Where training begins."""

    start: Tensor
    """[P, n, A]"""
    losses: Tensor
    """[P]"""
    gradient: Tensor
    """[P, N]"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    return population_model(save_tiny(tmp_path_factory.mktemp("llama"), "llama"))


@pytest.fixture(scope="module")
def elites(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(4, 8.0))[:2]


def prepared(how: Method, model: PopulationModel, elites: Sequence[Agent]) -> Lesson:
    return how.prepare(elites, LIVED, model.prompts(ACTIONS), np.random.default_rng(0))


def everything(model: PopulationModel, elites: Sequence[Agent]) -> Batch:
    """Return all decisions, in their order, for every agent."""
    chosen = np.tile(np.arange(ALL), (len(elites), 1))
    return make_batch(LIVED, np.ones(ALL), chosen, model.prompts(ACTIONS))


def learn(batch: Batch, loss: Loss, model: PopulationModel, elites: Sequence[Agent], *, joint: bool = False) -> Step:
    """Return what a first step sees if the agents took all the decisions themselves."""
    policies = Policies(model, model.prompts(ACTIONS), elites, 256)
    start = policies.log_probs(batch)
    batch = replace(batch, behaviour=of_taken(start, batch.taken))
    losses = policies.backward(batch, start, loss, joint=joint)
    assert policies.weights.grad is not None
    return Step(start, losses, policies.weights.grad)


def reinforce(batch: Batch, worth: Tensor, model: PopulationModel, elites: Sequence[Agent]) -> Step:
    """Return the first step of plain REINFORCE with these worths [P, n]: Williams 1992."""

    def loss(now: Tensor, start: Tensor, part: Batch) -> Tensor:
        return -part.advantage * of_taken(now, part.taken)

    return learn(replace(batch, advantage=worth), loss, model, elites)


def assert_same(one: Tensor, other: Tensor, tolerance: float = 1e-4) -> None:
    """Check that gradients [P, N] are there and the same."""
    assert float(other.norm(dim=1).min()) > 1e-5
    assert float(((one - other).norm(dim=1) / other.norm(dim=1)).max()) < tolerance


@pytest.mark.parametrize(
    "how",
    [
        Rejection(share=1.0, decisions=ALL),
        AdvantageRegression(baseline="step", beta=1e9, decisions=ALL),
        AdvantageRegression(baseline="others", weighting="crr_exponential", beta=1e9, decisions=ALL),
        AdvantageWeighted(weighting="exponential", share=1.0, beta=1e9, decisions=ALL),
    ],
    ids=["all lives are best", "awr", "crr", "weighted"],
)
def test_without_preference_all_that_imitates_is_supervised_fine_tuning(
    how: Method, model: PopulationModel, elites: list[Agent]
) -> None:
    made, plain = prepared(how, model, elites), everything(model, elites)
    found = learn(made.batch, made.loss, model, elites)
    expected = reinforce(plain, torch.ones(len(elites), ALL), model, elites)
    torch.testing.assert_close(found.losses, expected.losses)
    assert_same(found.gradient, expected.gradient)


def test_on_policy_grpo_is_reinforce_with_the_worlds_mean_as_baseline(
    model: PopulationModel, elites: list[Agent]
) -> None:
    made = prepared(GroupRelative(decisions=ALL), model, elites)
    lives = lives_of(LIVED)
    mean = np.array([lives.worth[lives.seed == seed].mean() for seed in lives.seed])
    worth = torch.from_numpy((lives.worth - mean)[lives.of]).float().expand(len(elites), ALL)
    expected = reinforce(everything(model, elites), worth, model, elites)
    assert_same(learn(made.batch, made.loss, model, elites).gradient, expected.gradient)


def test_on_policy_the_clipped_gradient_is_reinforce_with_the_fitted_value_as_baseline(
    model: PopulationModel, elites: list[Agent]
) -> None:
    how = AdvantageWeighted(weighting="clipped", share=1.0, smoothing=None, decisions=ALL)
    made, advantage = prepared(how, model, elites), appraise(LIVED, how.horizon).advantage
    worth = torch.from_numpy(advantage / advantage.std()).float().expand(len(elites), ALL)
    expected = reinforce(everything(model, elites), worth, model, elites)
    assert_same(learn(made.batch, made.loss, model, elites).gradient, expected.gradient)


def test_a_slight_tilt_is_reinforce_with_each_decision_weighed_by_its_own_chance(
    model: PopulationModel, elites: list[Agent]
) -> None:
    how = AdvantageWeighted(weighting="tilted", share=1.0, beta=100.0, anchors=0.0, decisions=ALL)
    made = prepared(how, model, elites)
    found = learn(made.batch, made.loss, model, elites)
    chance = of_taken(found.start, made.batch.taken).exp()
    expected = reinforce(made.batch, chance * made.batch.advantage / 100, model, elites)
    assert_same(found.gradient, expected.gradient, tolerance=0.02)
    still = replace(made.batch, advantage=torch.zeros_like(made.batch.advantage))
    assert float(learn(still, made.loss, model, elites).gradient.abs().max()) < 1e-6


def test_at_the_reference_preference_is_log_two_and_reinforce_with_one_life_as_baseline_of_the_other(
    model: PopulationModel, elites: list[Agent]
) -> None:
    made = prepared(TrajectoryPreference(pairs=4, steps=3, beta=0.3, imitate=0.0), model, elites)
    found = learn(made.batch, made.loss, model, elites, joint=True)
    torch.testing.assert_close(found.losses, torch.full((len(elites),), math.log(2)))
    pull = 0.3 / 2 * made.batch.advantage * made.batch.weight * made.block  # a pair's loss is a mean over its block
    assert_same(found.gradient, reinforce(made.batch, pull, model, elites).gradient)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_at_the_teacher_divergence_and_its_gradient_are_zero(
    direction: str, model: PopulationModel, elites: list[Agent]
) -> None:
    made = prepared(Distillation(words=99, direction=direction, decisions=ALL), model, elites)
    batch = replace(made.batch, weight=torch.ones_like(made.batch.weight))  # 0 for who is its own teacher
    there = learn(batch, made.loss, model, elites)
    assert float(there.losses.abs().max()) < 1e-6
    assert float(there.gradient.abs().max()) < 1e-6

    def elsewhere(now: Tensor, start: Tensor, part: Batch) -> Tensor:
        return made.loss(now, start.roll(1, dims=2), part)

    assert float(learn(batch, elsewhere, model, elites).gradient.abs().max()) > 1e-2
