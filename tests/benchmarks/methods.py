"""What does each method of fine-tuning buy? `python -m tests.benchmarks.methods [--decisions 100000] [method...]`.

One generation of founders lives until so many decisions are recorded. Its best are then trained by each method alone,
on the same record, and live in held-out worlds as they were and as they have become: the same worlds for all, so that
gains are paired. Intervals resample worlds.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf

from evo.build import build_run
from evo.report.statistics import bootstrap_interval
from finetune.methods.base import Method
from finetune.trainer import Training, Tuned, tune
from fitness.adapter import initial_adapter
from fitness.agent import Agent
from fitness.cores import pieces_only
from fitness.engines.config import PopulationEngineConfig
from fitness.engines.population import PopulationEngine
from fitness.environments.base import EnvironmentConfig
from fitness.model import ModelConfig
from fitness.objectives import Yardstick
from fitness.records import Transitions, joined_transitions
from fitness.rollout import roll_out
from tests.benchmarks.findings import machine, tell
from tests.pages import renewed

CONF = Path(__file__).resolve().parents[2] / "conf" / "finetune"
METHODS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")
FOLDER = Path("outputs/benchmarks")
ELITES, FOUNDERS, WORLDS, HELDOUT = 2, 24, 16, 128
DECISIONS, PASSES = 8192, 2
"""That each elite is trained on, at most, and how often."""
_MARKS = ("<!-- measured -->", "<!-- end -->")
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
        told = [replace(agent, strategy=agent.strategy + method.spoken) for agent in self.elites]
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


def _taught(agent: Agent, tuned: Tuned) -> Agent:
    return replace(agent, adapter=tuned.adapter) if tuned.accepted else agent


def load(name: str, passes: int) -> Method:
    """Return a method as it is shipped, but for more decisions of each elite, and more passes over them."""
    method: Any = instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    known = {field.name for field in fields(method)}
    given = {"decisions": DECISIONS} if "decisions" in known else {}
    return cast(Method, replace(method, **given, trainer=replace(method.trainer, passes=passes)))


def into_page(page: Path, bench: Bench, learnt: Sequence[Learnt]) -> None:
    """Put the table between the marks of a page, the largest gain first."""
    facts = machine()
    told = (
        f"{len(bench.elites)} elites that score {bench.before.mean():.3f}, {len(bench.lived):,} decisions recorded, "
        f"{len(bench.seeds)} held-out worlds; {facts['processor']}, {facts['cores']} cores, "
        f"torch {facts['packages']['torch']}."
    )
    rows = [
        "| `finetune=` | score | gain | 95% interval | refused | KL | seconds | TFLOPs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.method} | {one.score:.3f} | {one.gain:+.3f} | {one.low:+.3f} to {one.high:+.3f} | {one.refused} "
        f"| {one.kl:.3f} | {one.seconds:.0f} | {one.flops / 1e12:.2f} |"
        for one in sorted(learnt, key=lambda one: -one.gain)
    ]
    page.write_text(renewed(page, *_MARKS, "\n".join([told, "", *rows])), encoding="utf-8")


def main() -> None:
    """Measure, print and keep what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.methods", description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="method", help=f"of: {', '.join(METHODS)} (default: all)")
    parser.add_argument("--decisions", type=int, default=100_000, help="to be recorded (default 100000)")
    parser.add_argument("--passes", type=int, default=PASSES, help=f"over what is trained on (default {PASSES})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="a page with marks (docs/finetuning.md) to put the table into")
    given = parser.parse_args()
    unknown = [name for name in given.methods if name not in METHODS]
    if unknown:
        parser.error(f"method: expected one of {', '.join(METHODS)}, got {unknown[0]!r}")
    with pieces_only():
        bench = Bench.record(given.decisions, given.seed)
        learnt = []
        for name in given.methods or METHODS:
            learnt.append(bench.teach(name, load(name, given.passes), given.seed))
            print(json.dumps(asdict(learnt[-1])), flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "before": float(bench.before.mean()), "learnt": [asdict(one) for one in learnt]}
    (FOLDER / "methods.json").write_text(json.dumps(found, indent=1) + "\n")
    if given.page:
        into_page(given.page, bench, learnt)


if __name__ == "__main__":
    main()
