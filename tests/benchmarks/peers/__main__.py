"""Try every rival beside ours: `python -m tests.benchmarks.peers [--agents 8 32] [--repeats 5] [--rivals trl vllm]`.

Tokens are random: what is measured is the work, not the play. As everywhere in these benchmarks, everyone has one core,
and times are that core's own.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils import logging

from fitness.adapter import Adapter, AdapterStack
from fitness.model import ModelConfig, PopulationModel, load_base_model
from fitness.organism import FOLDER
from tests.benchmarks.engine import random_adapter
from tests.benchmarks.peers import Peer
from tests.benchmarks.peers.jobs import DecisionJob, TrainingJob, write_job
from tests.benchmarks.timing import table

DECIDERS, TRAINERS = ("vllm", "populora", "populora-kept"), ("trl", "populora-train", "populora-loop")
STRATEGY, OBSERVATION, ROWS, ROW, RANK, ACTIONS, VOCABULARY = 64, 48, 8, 64, 16, 9, 580
AT_ONCE = 4
"""Agents whose rows go through our model together."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.peers", description="Measure peers beside Forager."
    )
    parser.add_argument("--agents", type=int, nargs="+", default=[8, 32], help="sizes of the population")
    parser.add_argument("--repeats", type=int, default=5, help="the median of this many runs is told (default 5)")
    parser.add_argument("--rivals", nargs="+", default=[*DECIDERS, *TRAINERS], help="whom to run")
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    model = PopulationModel(load_base_model(ModelConfig(name="organism")))
    for agents in given.agents:
        adapters = [random_adapter(model.lora_spec(RANK, float(RANK)), seed) for seed in range(agents)]
        for part, names in ((decisions, DECIDERS), (training, TRAINERS)):
            if set(names) & set(given.rivals):
                print(part(model, adapters, given), flush=True)


def decisions(model: PopulationModel, adapters: Sequence[Adapter], given: argparse.Namespace) -> str:
    """Measure decisions and return a table."""
    job = decision_job(len(adapters))
    count = len(job.seats)
    ours, seconds = timed(decider(model, adapters, job), given.repeats)
    rows = [["our forward, strategies kept", f"{count / seconds:,.0f}", "", ""]]
    with tempfile.TemporaryDirectory() as place:
        folder = write_job(Path(place) / "job", FOLDER, adapters, job)
        for name in [name for name in DECIDERS if name in given.rivals]:
            found, seconds, preparation = contest(name, folder, given)
            apart = f"{np.abs(found - ours).max():.1e}"
            rows.append([name, f"{count / seconds:,.0f}", apart, f"{preparation * 1000:,.0f}"])
    title = f"{len(adapters)} agents x {ROWS} decisions, rank {RANK}, {STRATEGY} + {OBSERVATION} tokens"
    return table(title, ("rival", "decisions/s", "differs by", "preparation, ms"), rows)


def training(model: PopulationModel, adapters: Sequence[Adapter], given: argparse.Namespace) -> str:
    """Measure one step of training for all and return a table; `differs` compares losses with our forward."""
    job = training_job(len(adapters))
    ours = losses(model, adapters, job)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = write_job(Path(place) / "job", FOLDER, adapters, job)
        for name in [name for name in TRAINERS if name in given.rivals]:
            found, seconds, preparation = contest(name, folder, given)
            apart = f"{np.abs(found - ours).max():.1e}"
            rows.append([name, f"{seconds * 1000:,.0f}", apart, f"{preparation * 1000:,.0f}"])
    title = f"{len(adapters)} adapters x {ROWS} rows of {ROW} tokens, rank {RANK}: one optimisation step for all"
    return table(title, ("rival", "ms", "loss differs by", "preparation, ms"), rows)


def contest(name: str, folder: Path, given: argparse.Namespace) -> tuple[NDArray[np.float64], float, float]:
    """Run a rival and return its numbers, the median of its core seconds, and the median of its preparation."""
    with Peer(threads=1) as peer:
        peer.load(name, folder)
        peer.run()
        found, timings = peer.result(), []
        for _ in range(given.repeats):
            peer.run()
            timings.append(peer.timing)
    return found, statistics.median(t.core_seconds for t in timings), statistics.median(t.preparation for t in timings)


def timed(do: Callable[[], NDArray[np.float64]], repeats: int) -> tuple[NDArray[np.float64], float]:
    """Return what `do` returns and the median of its core seconds."""
    found, seconds = do(), []
    for _ in range(repeats):
        started = time.process_time()
        do()
        seconds.append(time.process_time() - started)
    return found, statistics.median(seconds)


def decision_job(agents: int) -> DecisionJob:
    """Return random prompts: every agent's strategy with observations of its own."""
    rng = np.random.default_rng(0)
    strategies = rng.integers(2, VOCABULARY, (agents, STRATEGY)).tolist()
    seats = np.repeat(np.arange(agents), ROWS).tolist()
    prompts = [strategies[seat] + rng.integers(2, VOCABULARY, OBSERVATION).tolist() for seat in seats]
    return DecisionJob(
        prompts=prompts, strategy_lengths=[STRATEGY] * len(seats), seats=seats, actions=list(range(100, 100 + ACTIONS))
    )


def training_job(agents: int) -> TrainingJob:
    """Return random rows and labels."""
    rng = np.random.default_rng(1)
    rows = rng.integers(2, VOCABULARY, (agents, ROWS, ROW)).tolist()
    return TrainingJob(rows=rows, labels=rng.integers(2, VOCABULARY, (agents, ROWS)).tolist(), learning_rate=1e-4)


def decider(model: PopulationModel, adapters: Sequence[Adapter], job: DecisionJob) -> Callable[[], NDArray[np.float64]]:
    """Read the strategies and return what gives our log-probabilities [n, A], rows at once as the engine would."""
    prompts = torch.tensor(job.prompts).reshape(len(adapters), ROWS, -1)
    groups = torch.arange(len(adapters)).split(AT_ONCE)
    with torch.inference_mode():
        prefixes = [
            model.read(AdapterStack.of([adapters[i] for i in group]), prompts[group, 0, :STRATEGY].tolist())
            for group in groups
        ]

    @torch.inference_mode()
    def decide() -> NDArray[np.float64]:
        found = []
        for prefix, group in zip(prefixes, groups, strict=True):
            lengths = torch.full((len(group), ROWS), OBSERVATION)
            found.append(model.action_log_probs(prefix, prompts[group, :, STRATEGY:], lengths, job.actions))
        return torch.cat(found).flatten(0, 1).double().numpy()

    return decide


@torch.inference_mode()
def losses(model: PopulationModel, adapters: Sequence[Adapter], job: TrainingJob) -> NDArray[np.float64]:
    """Return our loss [P] of predicting each row's label among all tokens; a row is an agent with a prefix of one."""
    rows, labels = torch.tensor(job.rows).flatten(0, 1), torch.tensor(job.labels)
    stack = AdapterStack.of(adapters).take(np.repeat(np.arange(len(adapters)), ROWS).tolist())
    prefix = model.read(stack, rows[:, :1].tolist())
    found = model.action_log_probs(prefix, rows[:, None, 1:], torch.full((len(rows), 1), ROW - 1), range(VOCABULARY))
    return -found[:, 0].gather(-1, labels.reshape(-1, 1)).reshape(labels.shape).mean(dim=1).double().numpy()


if __name__ == "__main__":
    main()
