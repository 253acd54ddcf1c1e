"""Sensitivities of a whole population are those of each agent alone, and say what a change of a weight does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from finetune.sensitivity import sensitivity
from fitness.adapter import AdapterStack
from fitness.agent import Agent
from fitness.model import PopulationModel, pad_rows
from tests.fitness.models import ACTIONS, OBSERVATIONS, agents, population_model, save_tiny


@pytest.fixture(scope="module", params=["auto", "huggingface"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PopulationModel:
    return population_model(save_tiny(tmp_path_factory.mktemp("tiny"), "llama"), request.param)


def chances(model: PopulationModel, agent: Agent, weights: Tensor, observation: str) -> Tensor:
    """Return one agent's chances [A] at one observation."""
    prompts = model.prompts(ACTIONS)
    stack = AdapterStack.of([agent.adapter]).of_rows(weights, slice(None))
    prefix = model.read(stack, prompts.prefixes([agent.strategy]))
    ids, lengths = pad_rows([prompts.rows([observation])])
    return model.action_log_probs(prefix, ids, lengths, prompts.actions, agent.temperature)[0, 0].exp()


def alone(model: PopulationModel, agent: Agent, observations: Sequence[str]) -> Tensor:
    """Return one agent's sensitivities [N], a gradient at a time."""
    total = torch.zeros(len(ACTIONS), AdapterStack.of([agent.adapter]).rows().shape[1])
    for observation in observations:
        for action in range(len(ACTIONS)):
            weights = AdapterStack.of([agent.adapter]).rows().clone().requires_grad_()
            chances(model, agent, weights, observation)[action].backward()
            assert weights.grad is not None
            total[action] += weights.grad[0] / len(observations)
    return total.square().sum(dim=0).sqrt()


def test_it_is_what_each_agent_alone_has(model: PopulationModel) -> None:
    few = agents(model.lora_spec(4, 8.0))[:2]
    measured = sensitivity(model, model.prompts(ACTIONS), few, OBSERVATIONS[:3]).rows()
    for agent, row in zip(few, measured, strict=True):
        torch.testing.assert_close(row, alone(model, agent, OBSERVATIONS[:3]), atol=1e-6, rtol=1e-3)
    assert float(measured.min()) >= 0
    assert float(measured.max()) > 0


def test_a_small_change_of_a_weight_moves_the_chances_by_it(model: PopulationModel) -> None:
    (agent,) = agents(model.lora_spec(4, 8.0))[:1]
    measured = sensitivity(model, model.prompts(ACTIONS), [agent], OBSERVATIONS[:1]).rows()[0]
    weights, place = AdapterStack.of([agent.adapter]).rows(), int(measured.argmax())
    moved = weights.clone()
    moved[0, place] += 1e-2
    with torch.no_grad():
        apart = chances(model, agent, moved, OBSERVATIONS[0]) - chances(model, agent, weights, OBSERVATIONS[0])
    assert float(apart.norm()) == pytest.approx(1e-2 * float(measured[place]), rel=0.1)


def test_saying_all_twice_changes_nothing(model: PopulationModel) -> None:
    few, prompts = agents(model.lora_spec(4, 8.0))[:2], model.prompts(ACTIONS)
    once, twice = (sensitivity(model, prompts, few, OBSERVATIONS[:2] * n).rows() for n in (1, 2))
    torch.testing.assert_close(once, twice, atol=1e-7, rtol=1e-3)


def test_a_surer_agent_minds_less(model: PopulationModel) -> None:
    (agent,) = agents(model.lora_spec(4, 8.0))[:1]
    sure, prompts = replace(agent, temperature=0.01), model.prompts(ACTIONS)
    usual, little = (float(sensitivity(model, prompts, [one], OBSERVATIONS).rows().norm()) for one in (agent, sure))
    assert little < usual
