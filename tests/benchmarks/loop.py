"""A whole run: how much of its time is the model's, and how much memory a thousand genomes take."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

import numpy as np

from evo.build import build_run
from finetune.methods.base import Method
from finetune.trainer import tune
from fitness.agent import Agent
from fitness.audit import audit
from fitness.engines.config import PopulationEngineConfig
from fitness.environments.base import EnvironmentConfig
from fitness.model import ModelConfig
from fitness.rollout import Lives, roll_out
from tests.benchmarks.findings import Finding
from tests.benchmarks.settings import random_adapters
from tests.benchmarks.timing import race, timed

_GIGABYTE = 1e9


def measure(repeats: int) -> list[Finding]:
    """Run the quickstart as a user would, and tell what it says of itself; once, whatever `repeats` is."""
    seconds, _ = _evolve("experiment=quickstart")
    return [
        Finding(
            case="loop: quickstart", unit="share of seconds in the model", peer="wall clock",
            ours=seconds["model"], theirs=seconds["wall"], ratio=seconds["model"] / seconds["wall"], target=0.85,
        )
    ]  # fmt: skip


def measure_audit(repeats: int) -> list[Finding]:
    """Time the checks after a rollout of the quickstart's size beside the generation's lives and training."""
    config = build_run(["experiment=quickstart"]).config
    environment = cast(EnvironmentConfig, config.environment)
    env = environment.make(1)
    engine = cast(PopulationEngineConfig, config.engine).build(cast(ModelConfig, config.model), env)
    rng = np.random.default_rng(0)
    adapters = random_adapters(engine.model.lora_spec(config.adapter.rank, config.adapter.alpha), config.population)
    agents = [
        Agent(id=i, strategy=env.grammar.render(env.grammar.random(rng)), adapter=adapter, temperature=0.5)
        for i, adapter in enumerate(adapters)
    ]
    lives: list[Lives] = []

    def live() -> None:
        lives[:] = [roll_out(engine, environment, agents, np.arange(config.episodes))]
        elites, decided = agents[: config.elites], lives[0].transitions
        tune(cast(Method, config.finetune), engine.model, engine.prompts, elites, decided, np.random.default_rng(1))

    def check() -> None:
        engine.assert_adapters_act()
        audit(engine, agents, lives[0])

    with engine.model.for_a_run():
        live()
        seconds = race({"ours": timed(check), "a generation": timed(live)}, min(repeats, 5))
    ours, theirs = seconds["ours"], seconds["a generation"]
    return [
        Finding(
            case="audit: quickstart", unit="seconds", peer="1% of a generation", ours=ours, theirs=theirs / 100,
            ratio=theirs / 100 / ours, target=1.0,
        )
    ]  # fmt: skip


def measure_thousand(repeats: int) -> list[Finding]:
    """Let 1,000 genomes live 8 episodes each, twice, with selection and fine-tuning between; takes many minutes."""
    _, peak = _evolve("experiment=quickstart", "population=1000", "episodes=8", "generations=2", "finals=1")
    return [
        Finding(
            case="loop: 1,000 genomes x 8 episodes", unit="GB of memory at most", peer="8 GB", ours=peak / _GIGABYTE,
            theirs=8.0, ratio=8.0 / (peak / _GIGABYTE), target=1.0,
        )
    ]  # fmt: skip


def _evolve(*overrides: str) -> tuple[dict[str, float], float]:
    """Run `forager evolve` in a folder of its own; return the seconds of its manifest and its peak memory in bytes."""
    command = [str(Path(sys.executable).with_name("forager")), "evolve", *overrides]
    with tempfile.TemporaryDirectory() as place:
        process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)  # of this child alone: peers are children too
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        (path,) = Path(place).glob("outputs/*/manifest.json")
        seconds: dict[str, float] = json.loads(path.read_text())["seconds"]
    return seconds, usage.ru_maxrss * 1024.0
