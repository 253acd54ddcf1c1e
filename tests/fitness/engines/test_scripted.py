"""The scripted engine and the drawing of actions, worked by hand."""

import numpy as np
import pytest

from fitness.adapter import LoraSpec, initial_adapter
from fitness.agent import Agent
from fitness.engines.base import draw
from fitness.engines.scripted import ScriptedEngine
from fitness.errors import EngineError

SPEC = LoraSpec(1, 1.0, (("x", 2, 2),))


def agent(strategy: str, temperature: float = 1.0) -> Agent:
    return Agent(id=0, strategy=strategy, adapter=initial_adapter(SPEC, 0), temperature=temperature)


def policy(strategy: str, observation: str) -> tuple[float, float, float]:
    return (0.0, 1.0, 0.0) if strategy == "bold" and "wolf" in observation else (0.5, 0.25, 0.25)


def test_draw_takes_the_slice_that_holds_the_number() -> None:
    log_probs = np.log(np.array([[0.5, 0.25, 0.25]] * 6, dtype=np.float32))
    uniforms = np.array([0.0, 0.49, 0.51, 0.74, 0.76, 1 - 1e-12])
    assert draw(log_probs, uniforms).tolist() == [0, 0, 1, 1, 2, 2]


def test_draw_never_takes_an_impossible_action() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[0.0, 1.0, 0.0]] * 3, dtype=np.float32))
    assert draw(log_probs, np.array([0.0, 0.5, 1 - 1e-12])).tolist() == [1, 1, 1]


def test_draw_follows_the_distribution() -> None:
    probabilities = np.array([0.1, 0.2, 0.7])
    rows = np.repeat(np.log(probabilities, dtype=np.float64).astype(np.float32)[None], 20_000, axis=0)
    counts = np.bincount(draw(rows, np.random.default_rng(0).random(20_000)), minlength=3)
    np.testing.assert_allclose(counts / 20_000, probabilities, atol=0.015)


def test_the_policy_sees_strategy_and_observation() -> None:
    engine = ScriptedEngine(policy)
    engine.seat([agent("bold"), agent("shy")])
    seats, texts = np.array([1, 0, 0]), ["wolf near", "wolf near", "a quiet day"]
    decisions = engine.decide(seats, texts, np.array([0.1, 0.1, 0.9]))
    assert decisions.actions.tolist() == [0, 1, 2]
    np.testing.assert_allclose(np.exp(decisions.log_probabilities[0]), [0.5, 0.25, 0.25], atol=1e-6)
    assert decisions.prompt_tokens.tolist() == [3, 3, 4]
    assert engine.usage.decisions == 3


def test_temperature_flattens_or_sharpens() -> None:
    engine = ScriptedEngine(policy)
    engine.seat([agent("shy", temperature=0.5)])
    decisions = engine.decide(np.zeros(1, int), ["day"], np.zeros(1))
    np.testing.assert_allclose(np.exp(decisions.log_probabilities[0]), [4 / 6, 1 / 6, 1 / 6], atol=1e-6)


def test_deciding_before_seating_is_refused() -> None:
    with pytest.raises(EngineError, match="expected seated agents"):
        ScriptedEngine(policy).decide(np.zeros(1, int), ["x"], np.zeros(1))
