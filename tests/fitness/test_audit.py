"""What is recorded is what the agents did: every way to fake it is planted once, and stops the run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fitness.adapter import AdapterStack
from fitness.agent import Agent
from fitness.audit import audit
from fitness.engines.population import PopulationEngine
from fitness.environments.forage.config import ForageConfig
from fitness.environments.forage.world import ACTIONS
from fitness.errors import EngineError
from fitness.rollout import Lives, roll_out
from tests.fitness.models import agents, population_model, save_tiny

FOREST = ForageConfig(horizon=90)
SEEDS = np.arange(3)
OTHERS = r"expected every agent to decide again as it was recorded, got other answers from {} of 6"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> PopulationEngine:
    model = population_model(save_tiny(tmp_path_factory.mktemp("base"), "llama"))
    return PopulationEngine(model, action_names=ACTIONS)


@pytest.fixture
def population(engine: PopulationEngine) -> list[Agent]:
    return agents(engine.model.lora_spec(4, 8.0))


def check(engine: PopulationEngine, population: list[Agent], lives: Lives) -> None:
    """Do what a run does after each rollout."""
    engine.assert_adapters_act()
    audit(engine, population, lives)


def test_an_honest_rollout_passes(engine: PopulationEngine, population: list[Agent]) -> None:
    check(engine, population, roll_out(engine, FOREST, population, SEEDS))


@pytest.mark.fault("the base model plays instead of the adapters", "a run-time check stops the run")
def test_the_base_model_in_disguise(
    engine: PopulationEngine, population: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = engine.model.read
    monkeypatch.setattr(engine.model, "read", lambda _, prefixes, width=0: read(None, prefixes, width))
    lives = roll_out(engine, FOREST, population, SEEDS)
    with pytest.raises(EngineError, match="expected every adapter to change the model's output"):
        check(engine, population, lives)


@pytest.mark.fault("an adapter is applied to the wrong agent", "a run-time check stops the run")
def test_adapters_on_the_wrong_agents(
    engine: PopulationEngine, population: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        of = AdapterStack.of
        patch.setattr(AdapterStack, "of", classmethod(lambda _, own: of([own[1], own[0], *own[2:]])))
        lives = roll_out(engine, FOREST, population, SEEDS)
    with pytest.raises(EngineError, match=OTHERS.format(2)):
        check(engine, population, lives)


@pytest.mark.fault("a strategy's cache is kept although its adapter has changed", "a run-time check stops the run")
def test_a_stale_prefix(engine: PopulationEngine, population: list[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    engine.seat(population)
    stale = engine._prefix
    changed = [replace(agent, adapter=_nudged(agent)) for agent in population]
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_read", lambda stack: stale)
        lives = roll_out(engine, FOREST, changed, SEEDS)
    with pytest.raises(EngineError, match=OTHERS.format(6)):
        audit(engine, changed, lives)


def _nudged(agent: Agent) -> object:
    """Return an adapter that has taken a small step of training."""
    own = agent.adapter
    return replace(own, b={name: factor + 0.01 * torch.ones_like(factor) for name, factor in own.b.items()})


@pytest.mark.fault("rewards are attached to the wrong member", "a run-time check stops the run")
def test_rewards_of_others(engine: PopulationEngine, population: list[Agent]) -> None:
    lives = roll_out(engine, FOREST, population, SEEDS)
    lengths = lives.episodes.length + np.array([1, -1] + [0] * 16, np.int32)
    with pytest.raises(EngineError, match="expected every life's rewards to be its own, got others for 2 of 18 lives"):
        check(engine, population, replace(lives, episodes=replace(lives.episodes, length=lengths)))
    reward = lives.transitions.reward.copy()
    reward[5] = 0.0
    rolled = replace(lives.transitions, reward=reward)
    with pytest.raises(EngineError, match="expected every life's rewards to be its own"):
        check(engine, population, replace(lives, transitions=rolled))


@pytest.mark.fault("decisions are recorded under another member's name", "a run-time check stops the run")
def test_decisions_of_others(engine: PopulationEngine, population: list[Agent]) -> None:
    lives = roll_out(engine, FOREST, population, SEEDS)
    names = {10: 11, 11: 10}
    swapped = np.array([names.get(int(i), int(i)) for i in lives.transitions.agent])
    with pytest.raises(EngineError, match="expected the decisions of every life that ended, got those of others"):
        check(engine, population, replace(lives, transitions=replace(lives.transitions, agent=swapped)))


@pytest.mark.fault("an adapter holds NaN", "its agent's episodes fail; its siblings live on")
def test_a_broken_adapter_fails_alone(engine: PopulationEngine, population: list[Agent]) -> None:
    whole = roll_out(engine, FOREST, population, SEEDS)
    poisoned = replace(
        population[2],
        adapter=replace(population[2].adapter, b={n: b * np.nan for n, b in population[2].adapter.b.items()}),
    )
    lives = roll_out(engine, FOREST, [*population[:2], poisoned, *population[3:]], SEEDS)
    failed = lives.episodes.agent == poisoned.id
    assert (lives.episodes.end == "failed").tolist() == failed.tolist()
    assert lives.episodes.length[~failed].tolist() == whole.episodes.length[~failed].tolist()
    assert "computes finite scores" in lives.episodes.error[failed][0]


@pytest.mark.fault(
    "memory runs out in a forward", "half as many rows go through the model together from then on; recorded"
)
def test_out_of_memory(engine: PopulationEngine, population: list[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = roll_out(engine, FOREST, population, SEEDS)
    small = PopulationEngine(engine.model, action_names=ACTIONS)
    score = engine.model.action_log_probs

    def greedy(prefix, ids, *others):  # type: ignore[no-untyped-def]
        if ids.shape[0] * ids.shape[1] > 2:
            torch.empty(1 << 60)
        return score(prefix, ids, *others)

    monkeypatch.setattr(engine.model, "action_log_probs", greedy)
    lives = roll_out(small, FOREST, population, SEEDS)
    assert small.row_chunk == 2
    assert lives.episodes.length.tolist() == whole.episodes.length.tolist()
    assert [fault.reason for fault in lives.faults] == [
        "engine: out of memory with 4 rows together, went on with 2",
    ]
