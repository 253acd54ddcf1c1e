"""The population engine: same life in any company, adapters that act, ragged populations, honest counters."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.adapter import AdapterStack, initial_adapter
from fitness.agent import Agent
from fitness.engines.base import Decisions
from fitness.engines.population import PopulationEngine, plan_groups
from fitness.errors import EngineError
from fitness.forwards.base import Prefix
from fitness.model import PopulationModel
from tests.fitness.models import ACTIONS, OBSERVATIONS, agents, population_model, save_tiny

SEATS = np.array([5, 0, 1, 1, 2, 4, 1, 5, 5, 0, 1, 1])
TEXTS = [OBSERVATIONS[i % len(OBSERVATIONS)] for i in range(len(SEATS))]
UNIFORMS = np.random.default_rng(0).random(len(SEATS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="module", params=("auto", "huggingface"))
def model(folder: Path, request: pytest.FixtureRequest) -> PopulationModel:
    return population_model(folder, request.param)


def seated(model: PopulationModel, population: Sequence[Agent], row_chunk: int = 128) -> PopulationEngine:
    engine = PopulationEngine(model, action_names=ACTIONS, row_chunk=row_chunk)
    engine.seat(population)
    return engine


def population_of(model: PopulationModel) -> list[Agent]:
    return agents(model.lora_spec(rank=4, alpha=8.0))


def decide(engine: PopulationEngine) -> Decisions:
    return engine.decide(SEATS, TEXTS, UNIFORMS)


@pytest.mark.parametrize("row_chunk", [1, 3, 8])
def test_an_agent_decides_alike_alone_and_in_company(model: PopulationModel, row_chunk: int) -> None:
    population = population_of(model)
    together = decide(seated(model, population, row_chunk))
    for seat, agent in enumerate(population):
        rows = np.flatnonzero(seat == SEATS)
        if not len(rows):
            continue
        alone = seated(model, [agent]).decide(np.zeros(len(rows), int), [TEXTS[i] for i in rows], UNIFORMS[rows])
        np.testing.assert_allclose(alone.log_probabilities, together.log_probabilities[rows], atol=1e-5)
        np.testing.assert_array_equal(alone.actions, together.actions[rows])
        np.testing.assert_array_equal(alone.prompt_tokens, together.prompt_tokens[rows])


def test_rows_may_come_in_any_order_and_repeat(model: PopulationModel) -> None:
    engine = seated(model, population_of(model), row_chunk=4)
    first, order = decide(engine), np.random.default_rng(1).permutation(len(SEATS))
    again = engine.decide(SEATS[order], [TEXTS[i] for i in order], UNIFORMS[order])
    np.testing.assert_array_equal(again.actions, first.actions[order])
    np.testing.assert_allclose(again.log_probabilities, first.log_probabilities[order], atol=1e-5)


def test_temperature_divides_the_logits(model: PopulationModel) -> None:
    one = population_of(model)[0]
    cold, warm = (Agent(id=1, strategy=one.strategy, adapter=one.adapter, temperature=t) for t in (0.5, 1.0))
    seats, uniforms = np.array([0, 1]), np.zeros(2)
    rows = seated(model, [cold, warm]).decide(seats, [OBSERVATIONS[0]] * 2, uniforms).log_probabilities
    np.testing.assert_allclose(rows[0] - rows[0][0], 2 * (rows[1] - rows[1][0]), atol=1e-4)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, atol=1e-5)


def test_adapters_act_and_a_newborn_is_not_asked(model: PopulationModel) -> None:
    population = population_of(model)
    newborn = Agent(id=99, strategy="eat.", adapter=initial_adapter(population[0].adapter.spec, seed=0))
    for crowd in ([newborn, *population], [newborn]):
        engine = PopulationEngine(model, action_names=ACTIONS)
        engine.seat(crowd)
        engine.decide(np.arange(len(crowd)), TEXTS[: len(crowd)], UNIFORMS[: len(crowd)])
        engine.assert_adapters_act()


def test_deciding_again_is_deciding_the_same(model: PopulationModel) -> None:
    population = population_of(model)
    seats = np.arange(len(population))
    decided = seated(model, population).decide(seats, TEXTS[: len(seats)], UNIFORMS[: len(seats)])
    again = PopulationEngine(model, action_names=ACTIONS, row_chunk=4).decide_again(population, TEXTS[: len(seats)])
    np.testing.assert_allclose(again, decided.log_probabilities, atol=1e-5)


class ForgetfulModel(PopulationModel):
    """Plays the base model whatever the adapters are: the bug to catch."""

    def read(self, stack: AdapterStack | None, prefixes: Sequence[Sequence[int]], width: int = 0) -> Prefix:
        return super().read(None, prefixes, width)


@pytest.mark.parametrize("forward", ["auto", "huggingface"])
def test_playing_the_base_model_is_caught(folder: Path, forward: str) -> None:
    forgetful = ForgetfulModel(population_model(folder).base, forward=forward)
    engine = seated(forgetful, population_of(forgetful))
    decide(engine)
    with pytest.raises(EngineError, match=r"exactly the base model's answers from 2 of 2 agents"):
        engine.assert_adapters_act()


def test_usage_counts_decisions_and_work(model: PopulationModel) -> None:
    engine = seated(model, population_of(model))
    before = engine.usage
    assert before.decisions == 0
    assert before.forward_flops > 0
    decide(engine)
    once = engine.usage
    decide(engine)
    twice = engine.usage
    assert (once.decisions, twice.decisions) == (12, 24)
    assert twice.forward_flops - once.forward_flops == once.forward_flops - before.forward_flops > 0
    assert twice.model_seconds > once.model_seconds > before.model_seconds > 0


def test_flops_of_one_row_by_hand(folder: Path) -> None:
    """Hidden 32, 4 heads of 8, 2 key-value heads, MLP 48, 3 layers; LoRA of rank 4 on all seven."""
    attention, mlp = (32 * 32, 2 * 32 * 16, 32 * 32), 3 * 32 * 48
    layer = sum(attention) + mlp
    lora = 4 * (2 * 64 + 2 * 48 + 3 * 80)
    tail = 32 * 32 + mlp + 4 * (64 + 3 * 80)
    by_forward = {"huggingface": 3 * (layer + lora) * 5, "auto": (3 * (layer + lora) - tail) * 5 + tail}
    for forward, multiply_adds in by_forward.items():
        model = population_model(folder, forward)
        stack = AdapterStack.of([population_of(model)[0].adapter])
        prefix = model.read(stack, [[1, 2, 3]])
        assert model.forward.flops(prefix, tokens=5, rows=1) == 2 * multiply_adds


@pytest.mark.parametrize("seats", [[6], [-1]])
def test_a_seat_that_is_not_there_is_refused(model: PopulationModel, seats: list[int]) -> None:
    with pytest.raises(EngineError, match=r"seats: expected numbers from 0 to 5"):
        seated(model, population_of(model)).decide(np.array(seats), ["x"], np.zeros(1))


def test_deciding_before_seating_is_refused(model: PopulationModel) -> None:
    with pytest.raises(EngineError, match="expected seated agents"):
        PopulationEngine(model, action_names=ACTIONS).decide(np.zeros(1, int), ["x"], np.zeros(1))


@given(seats=st.lists(st.integers(0, 9), min_size=1, max_size=60), row_chunk=st.integers(1, 20))
def test_groups_hold_every_row_once_within_the_limits(seats: list[int], row_chunk: int) -> None:
    groups = plan_groups(np.array(seats), row_chunk)
    placed = sorted(row for group in groups for members in group.members for row in members)
    assert placed == list(range(len(seats)))
    for group in groups:
        heights = [len(members) for members in group.members]
        assert min(heights) > 0
        assert max(heights) * len(heights) <= row_chunk
        assert max(heights) * len(heights) - sum(heights) <= row_chunk / 4
        assert all(seats[row] == seat for seat, rows in zip(group.seats, group.members, strict=True) for row in rows)


def test_a_model_that_computes_no_numbers_is_refused(folder: Path) -> None:
    broken = population_model(folder)
    broken.base.network.lm_head.weight[:] = float("nan")
    with pytest.raises(EngineError, match=r"model\.name: expected a model that computes finite scores, got NaN"):
        decide(seated(broken, population_of(broken)))
