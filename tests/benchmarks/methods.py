"""What does each method of fine-tuning buy? `python -m tests.benchmarks.methods [--decisions 100000] [method...]`.

One generation of founders lives until so many decisions are recorded. Its best are then trained by each method alone,
on the same record, and live in held-out worlds as they were and as they have become: the same worlds for all, so that
gains are paired. Intervals resample worlds.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from evo.build import build_run
from evo.report.statistics import bootstrap_interval
from finetune.methods.base import Method
from finetune.trainer import Training, tune
from fitness.adapter import initial_adapter
from fitness.agent import Agent
from fitness.engines.config import PopulationEngineConfig
from fitness.engines.population import PopulationEngine
from fitness.environments.base import EnvironmentConfig
from fitness.model import ModelConfig
from fitness.objectives import Yardstick
from fitness.records import Transitions, joined_transitions
from fitness.rollout import roll_out
from tests.benchmarks.findings import tell

CONF = Path(__file__).resolve().parents[2] / "conf" / "finetune"
METHODS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")
FOLDER = Path("outputs/benchmarks")
ELITES, FOUNDERS, WORLDS, HELDOUT = 4, 24, 16, 128
_YARDSTICK, _HELDOUT = 400_000_000, 500_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What one method made of the elites."""

    method: str
    score: float
    """Mean over elites and held-out worlds, after."""
    gain: float
    """After less before."""
    low: float
    """Of the gain's 95% interval."""
    high: float
    refused: int
    """Of the elites, those whose adapter the trainer's guards refused; they count as they were."""
    kl: float
    """From what they were, nats a decision."""
    seconds: float
    """Of training."""
    flops: float
    """Of training."""


@dataclass(frozen=True)
class Bench:
    """The elites, what was recorded, and how to measure."""

    engine: PopulationEngine
    environment: EnvironmentConfig
    elites: Sequence[Agent]
    lived: Transitions
    yardstick: Yardstick
    seeds: NDArray[np.int64]
    before: Floats

    @classmethod
    def record(cls, decisions: int, seed: int) -> "Bench":
        """Let founders live until `decisions` are recorded, and choose the elites."""
        config = build_run(["experiment=quickstart"]).config
        environment = cast(EnvironmentConfig, config.environment)
        env = environment.make(1)
        engine = cast(PopulationEngineConfig, config.engine).build(cast(ModelConfig, config.model), env)
        adapter = initial_adapter(engine.model.lora_spec(config.adapter.rank, config.adapter.alpha), seed)
        rng = np.random.default_rng(seed)
        told = [env.grammar.render(env.grammar.random(rng)) for _ in range(FOUNDERS)]
        founders = [
            Agent(id=i, strategy=text, adapter=adapter, temperature=config.temperature) for i, text in enumerate(told)
        ]
        parts: list[Transitions] = []
        while sum(map(len, parts)) < decisions:
            worlds = seed * 1_000_000 + len(parts) * WORLDS + np.arange(WORLDS)
            parts.append(roll_out(engine, environment, founders, worlds).transitions)
        lived = joined_transitions(parts, range(FOUNDERS))
        lifespans = np.bincount(lived.agent, minlength=FOUNDERS)
        elites = [founders[i] for i in np.argsort(-lifespans, kind="stable")[:ELITES]]
        yardstick = Yardstick.measure(environment, _YARDSTICK + np.arange(512))
        seeds = _HELDOUT + np.arange(HELDOUT)
        bench = cls(engine, environment, elites, lived, yardstick, seeds, np.zeros(0))
        return cls(engine, environment, elites, lived, yardstick, seeds, bench.scores(elites))

    def scores(self, agents: Sequence[Agent]) -> Floats:
        """Return the agents' mean score in each held-out world [n]."""
        lengths = roll_out(self.engine, self.environment, agents, self.seeds).episodes.length
        mean = lengths.reshape(len(agents), len(self.seeds)).mean(axis=0)
        return np.array([self.yardstick.score(float(one)) for one in mean])

    def teach(self, name: str, method: Method, seed: int) -> Learnt:
        """Train the elites by a method alone, and measure them."""
        told = [Agent(id=a.id, strategy=a.strategy + method.spoken, adapter=a.adapter, temperature=a.temperature)
                for a in self.elites]  # fmt: skip
        begun = time.perf_counter()
        rng = np.random.default_rng(seed)
        training: Training = tune(method, self.engine.model, self.engine.prompts, told, self.lived, rng)
        seconds = time.perf_counter() - begun
        after = self.scores([_taught(agent, one) for agent, one in zip(told, training.tuned, strict=True)])
        gain = bootstrap_interval(after - self.before, np.random.default_rng(seed))
        for one in training.tuned:
            if not one.accepted:
                tell(f"{name}: refused, {one.reason}")
        return Learnt(
            method=name, score=float(after.mean()), gain=gain.value, low=gain.low, high=gain.high,
            refused=sum(not one.accepted for one in training.tuned),
            kl=float(np.mean([one.kl for one in training.tuned])), seconds=seconds, flops=training.cost.flops,
        )  # fmt: skip


def _taught(agent: Agent, tuned) -> Agent:
    return Agent(
        id=agent.id,
        strategy=agent.strategy,
        adapter=tuned.adapter if tuned.accepted else agent.adapter,
        temperature=agent.temperature,
    )
