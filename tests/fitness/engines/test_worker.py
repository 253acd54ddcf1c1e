"""An engine in a process of its own: the same answers, and whatever happens to it ends with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fitness.engines.base import Decisions, decide_each
from fitness.engines.config import PopulationEngineConfig, WorkerEngineConfig
from fitness.engines.scripted import ScriptedEngine
from fitness.engines.worker import Work, WorkerEngine
from fitness.environments.forage.config import ForageConfig
from fitness.errors import ConfigError, EngineError
from fitness.model import ModelConfig
from fitness.rollout import roll_out
from tests.fitness.models import agents, save_tiny
from tests.fitness.test_rollout import AGENTS, FOREST, wander

SEEDS = np.arange(4)
SEATS = np.array([0, 1, 2, 1])
TEXTS = ["energy low red", "hang", "pond", "gold"]
LUCK = np.array([0.1, 0.5, 0.9, 0.3])


class Moody(ScriptedEngine):
    """Hangs on one text, and starts a process of its own before."""

    def __init__(self, notes: Path) -> None:
        super().__init__(wander)
        self.notes = notes

    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        if "hang" in observations:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            with self.notes.open("a") as notes:
                notes.write(f"{os.getpid()} {child.pid}\n")
            time.sleep(1000)
        return super().decide(seats, observations, uniforms)


@pytest.fixture
def moody(tmp_path: Path) -> Iterator[WorkerEngine]:
    engine = WorkerEngine(Work(partial(Moody, tmp_path / "notes"), seconds=1.0))
    yield engine
    engine.close()


def gone(pid: int) -> bool:
    """Tell whether a process has ended, be it that nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


@pytest.mark.fault(
    "the engine hangs", "after the time limit its process group is ended; the row that hangs it fails alone"
)
def test_a_hang_is_ended_with_all_that_it_started(moody: WorkerEngine, tmp_path: Path) -> None:
    moody.seat(AGENTS)
    with pytest.raises(EngineError, match="expected decide to answer within 1 s"):
        moody.decide(SEATS, TEXTS, LUCK)
    decided, errors = decide_each(moody, SEATS, TEXTS, LUCK)
    assert [bool(error) for error in errors] == [False, True, False, False]
    plain = ScriptedEngine(wander)
    plain.seat(AGENTS)
    fine = errors == ""
    assert decided.actions[fine].tolist() == plain.decide(SEATS, TEXTS, LUCK).actions[fine].tolist()
    deadline = time.monotonic() + 10
    started = [int(pid) for pid in (tmp_path / "notes").read_text().split()]
    assert len(started) >= 4
    while not all(map(gone, started)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.fault("a worker is killed", "another takes its place; nobody fails")
def test_a_worker_that_dies_is_replaced(moody: WorkerEngine) -> None:
    moody.seat(AGENTS)
    assert moody._process is not None
    first = moody._process.pid
    whole = roll_out(ScriptedEngine(wander), FOREST, AGENTS, SEEDS)
    moody.decide(SEATS[:1], TEXTS[:1], LUCK[:1])
    os.kill(first or 0, signal.SIGKILL)
    _, errors = decide_each(moody, SEATS, ["pond"] * 4, LUCK)
    assert not any(errors)
    assert moody._process is not None
    assert moody._process.pid not in (None, first)
    assert moody.usage.decisions == 5
    lives = roll_out(moody, FOREST, AGENTS, SEEDS)
    assert lives.episodes.length.tolist() == whole.episodes.length.tolist()


def test_errors_come_across(moody: WorkerEngine) -> None:
    with pytest.raises(EngineError, match="worker: EngineError: engine: expected seated agents, got none"):
        moody.decide(SEATS, ["pond"] * 4, LUCK)


def test_the_population_engine_answers_the_same_there(tmp_path: Path) -> None:
    model = ModelConfig(name=str(save_tiny(tmp_path / "base", "llama")))
    env = ForageConfig().make(1)
    here = PopulationEngineConfig().build(model, env)
    there = WorkerEngineConfig(engine=PopulationEngineConfig()).build(model, env)
    population = agents(here.model.lora_spec(4, 8.0))[:3]
    lives = [roll_out(engine, ForageConfig(horizon=8), population, SEEDS) for engine in (here, there)]
    there.assert_adapters_act()
    there.close()
    assert np.array_equal(lives[0].transitions.log_probability, lives[1].transitions.log_probability)
    assert there.usage.decisions == here.usage.decisions


def test_a_time_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"seconds: expected a finite number above 0, got 0"):
        WorkerEngineConfig(engine=PopulationEngineConfig(), seconds=0)
