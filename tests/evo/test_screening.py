"""Those live of whom most is expected, what is expected comes from what was lived, and what it costs is counted."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evo.build import build_run
from evo.genome import Genome
from evo.launch import _check_parents
from evo.operators.selection import Tournament
from evo.operators.variation import Support, Variation
from evo.screening import Screen, Screened, ValueScreen
from fitness.adapter import Adapter
from fitness.engines.population import PopulationEngine
from fitness.errors import ConfigError
from tests.evo.algorithms.members import BEHAVIOURS, MEMBERS, build, generation, ones
from tests.evo.samples import GRAMMAR, genome
from tests.evo.samples import random_adapter as sample_adapter
from tests.finetune.lives import Life, record
from tests.fitness.models import ACTIONS, OBSERVATIONS, population_model, random_adapter, save_tiny

CONFIG = ValueScreen(times=2, decisions=6, probes=4)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> PopulationEngine:
    folder: Path = tmp_path_factory.mktemp("llama")
    return PopulationEngine(population_model(save_tiny(folder, "llama")), action_names=ACTIONS)


@pytest.fixture(scope="module")
def kinds(engine: PopulationEngine) -> tuple[Adapter, Adapter]:
    """The adapter of those who live long, and of those who do not."""
    return random_adapter(engine.model.lora_spec(2, 4.0), 0), random_adapter(engine.model.lora_spec(2, 4.0), 1)


def lived(screen: Screen, kinds: tuple[Adapter, Adapter]) -> None:
    """Have a screen learn from four who live for five steps and four who live for two."""
    population = [genome(i, adapter=kinds[i % 2]) for i in range(8)]
    steps = [5 - 3 * (i % 2) for i in range(8)]
    lives = [Life(i, 0, OBSERVATIONS[:n], [0] * n, [(0.5,)] * n) for i, n in enumerate(steps)]
    screen.learn(population, record(lives))


def test_those_live_whose_like_lived_long_and_it_is_charged(
    engine: PopulationEngine, kinds: tuple[Adapter, Adapter]
) -> None:
    screen, before = CONFIG.screening(engine, lambda one: one.express(GRAMMAR)), engine.usage
    assert (screen.wanted(5), screen.keep([genome(1), genome(2)], 1, 2)) == (5, [0, 1])  # nothing is known yet
    assert engine.usage == before
    lived(screen, kinds)
    learning = engine.usage
    children = [genome(20 + i, adapter=kinds[place]) for i, place in enumerate((1, 0, 1, 0, 0, 1, 1, 0))]
    assert screen.wanted(4) == 8
    assert screen.keep(children, 90, 4) == [1, 3, 4, 7]
    assert before.forward_flops < learning.forward_flops < engine.usage.forward_flops
    assert engine.usage.decisions == before.decisions
    done = screen.take()
    assert (done.left_out, list(done.expected or {})) == (4, [90, 91, 92, 93])
    assert screen.take() == Screened()


def test_what_it_knows_survives_an_interruption_to_the_bit(
    engine: PopulationEngine, kinds: tuple[Adapter, Adapter]
) -> None:
    screen, other = (CONFIG.screening(engine, lambda one: one.express(GRAMMAR)) for _ in range(2))
    other.restore(json.loads(json.dumps(screen.state())))
    assert other.wanted(3) == 3
    lived(screen, kinds)
    other.restore(json.loads(json.dumps(screen.state(), allow_nan=False)))
    children = [genome(20 + i, adapter=kinds[i % 2]) for i in range(6)]
    assert screen.keep(children, 50, 3) == other.keep(children, 50, 3)
    assert screen.take() == other.take()


def test_the_control_pays_and_does_not_heed(engine: PopulationEngine, kinds: tuple[Adapter, Adapter]) -> None:
    heeding, control = (
        replace(CONFIG, heed=heed).screening(engine, lambda one: one.express(GRAMMAR)) for heed in (True, False)
    )
    children, spent = [genome(20 + i, adapter=kinds[i % 2 == 0]) for i in range(6)], []
    for screen in (heeding, control):
        before = engine.usage.forward_flops
        lived(screen, kinds)
        kept = screen.keep(children, 50, 3)
        spent.append(engine.usage.forward_flops - before)
    assert kept == [0, 2, 4]
    assert spent[0] == pytest.approx(spent[1])


def test_rank_correlation_by_hand() -> None:
    done = Screened(3, {1: 0.1, 2: 0.2, 3: 0.3, 4: 9.0})
    lives = {1: [1.0, 3.0], 2: [5.0, math.nan], 3: [4.0, 4.0], 4: [math.nan] * 2}
    matrix = {id_: np.array(values) for id_, values in lives.items()}
    assert done.rank(matrix) == pytest.approx(0.5)  # places 1, 3, 2; who did not live does not count
    assert math.isnan(Screened(1, {1: 0.1, 2: 0.2}).rank(matrix))
    assert math.isnan(Screened().rank(matrix))
    assert math.isnan(done.rank({id_: np.ones(2) for id_ in lives}))


class Ones:
    """Expects most of those with the most ones."""

    def wanted(self, count: int) -> int:
        return 4 * count

    def keep(self, children: list[Genome], first_id: int, count: int) -> list[int]:
        assert len(children) == 4 * count
        return sorted(sorted(range(len(children)), key=lambda i: -ones(children[i]))[:count])


@pytest.mark.parametrize("name", ["generational", "islands", "map_elites"])
def test_algorithms_breed_more_and_only_those_kept_are_born(name: str) -> None:
    mean, ids = {}, set[int]()
    for screen in (None, Ones()):
        algorithm = MEMBERS[name].build(
            GRAMMAR, sample_adapter(0), Tournament(), Variation(), BEHAVIOURS, Support(screen=screen)
        )
        ids = {one.id for seed in range(3) for one in generation(algorithm, seed, lambda _: 1.0)}
        mean[screen is None] = np.mean([ones(one) for one in generation(algorithm, 3, lambda _: 1.0)])
    assert mean[False] > mean[True] + 0.5
    assert sorted(ids) == list(range(len(ids)))  # no id is spent on those left out


def test_it_is_refused_where_nobody_is_bred() -> None:
    config = build_run(["algorithm=cma_es", "screening=value_head"]).config
    with pytest.raises(ConfigError, match="screening: expected null beside CmaEsConfig, which breeds"):
        _check_parents(config, build(MEMBERS["cma_es"]))
    _check_parents(config, build(MEMBERS["islands"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"times": 1}, "times: expected an integer of at least 2, got 1"),
        ({"target": "end"}, "target: expected one of to_go, final, got 'end'"),
        ({"ridge": 0.0}, r"ridge: expected a number of at least 1e-09, got 0\.0"),
        ({"discount": 1.5}, r"discount: expected a number between 0 and 1, got 1\.5"),
    ],
)
def test_a_config_out_of_range_is_refused(fields: dict[str, float | str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        ValueScreen(**fields)
