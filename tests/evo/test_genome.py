"""Genomes are expressed and recorded whole; running means equal means of everything seen."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.genome import Evaluation, Genome, StepSizes
from fitness.adapter import initial_adapter
from tests.evo.samples import GRAMMAR, SPEC, genome, random_adapter

LIVES = st.lists(st.floats(0, 1000), max_size=20)


def test_expression_renders_the_strategy_and_keeps_the_adapter() -> None:
    one = genome(7)
    agent = one.express(GRAMMAR, temperature=0.5)
    assert (agent.id, agent.adapter, agent.temperature) == (7, one.adapter, 0.5)
    assert GRAMMAR.parse(agent.strategy) == one.genes


def test_record_survives_json() -> None:
    one = Genome(
        id=5,
        genes=genome(1).genes,
        adapter=random_adapter(2),
        step_sizes=StepSizes(strategy=0.3, adapter=0.7),
        parents=(1, 3),
        operator="crossover+mutation",
        born=4,
    )
    back = Genome.from_record(json.loads(json.dumps(one.record())), one.adapter)
    assert back.record() == one.record()


def test_record_refuses_another_adapter() -> None:
    with pytest.raises(ValueError, match="genome 1: expected adapter"):
        Genome.from_record(genome(1).record(), initial_adapter(SPEC, 99))


@pytest.mark.parametrize(("strategy", "adapter"), [(0.0, 0.1), (1.5, 0.1), (0.1, 0.0), (0.1, math.nan)])
def test_step_sizes_without_a_distribution_are_refused(strategy: float, adapter: float) -> None:
    with pytest.raises(ValueError, match="step_sizes"):
        StepSizes(strategy=strategy, adapter=adapter)


def test_evaluation_by_hand() -> None:
    first = Evaluation().merge([10.0, 20.0])
    assert (first.mean, first.count, first.standard_error) == (15.0, 2, 5.0)
    second = first.merge([30.0])
    assert (second.mean, second.count) == (20.0, 3)
    assert second.standard_error == pytest.approx(10 / math.sqrt(3))


def test_one_episode_has_no_known_spread() -> None:
    assert Evaluation().merge([4.0]) == Evaluation(4.0, 1, math.inf)


@given(LIVES, LIVES, LIVES)
@settings(deadline=None)
def test_evaluation_does_not_depend_on_how_episodes_were_grouped(
    a: list[float], b: list[float], c: list[float]
) -> None:
    merged = Evaluation().merge(a).merge(b).merge(c)
    everything = np.array(a + b + c)
    assert merged.count == len(everything)
    if len(everything):
        assert merged.mean == pytest.approx(everything.mean(), abs=1e-9)
    if len(everything) > 1:
        error = everything.std(ddof=1) / math.sqrt(len(everything))
        assert merged.standard_error == pytest.approx(error, abs=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_evaluation_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"expected finite numbers, got .* at position 1"):
        Evaluation().merge([1.0, value])


def test_evaluation_refuses_a_table() -> None:
    with pytest.raises(ValueError, match=r"expected a vector of numbers, got shape \(1, 2\)"):
        Evaluation().merge([[1.0, 2.0]])
