"""Parts of the genetics in the loop itself: killed and resumed, they end in the same bytes."""

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fitness.telemetry import read_table
from tests.integration.runs import OVERRIDES, command, content, kill_at_write, said

RUNS = {
    "archive": ("algorithm=map_elites", "selection=lexicase", "racing=halving", "population=6"),
    "islands": ("algorithm=islands", "algorithm.islands=2", "algorithm.every=1", "population=8"),
    "cloud": ("algorithm=cma_es", "population=6"),
    "swarm": ("algorithm=particle_swarm", "population=6"),
    "written": (
        "variation=strategy_written",
        "reflection=deaths",
        "elites=0",
        "population=8",
        "environment.horizon=150",
    ),
    "words": (
        "engine.mode=generate",
        "engine.limit=2",
        "finetune=grpo",
        "temperature=2.5",
        "generations=2",
        "episodes=1",
    ),
    "sensed": ("variation/adapter_mutation=proximal", "variation/adapter_crossover=slerp", "variation.halves=0.5"),
}


KILLED = {"words": 36}
"""At which write, if not at the usual one: with a generation behind it."""


def run(folder: Path, parts: tuple[str, ...], killed: int = 0) -> None:
    """Run to the end; if `killed`, be killed at that write first, and resumed."""
    plant = kill_at_write(killed) if killed else None
    process = command(folder, "evolve", *OVERRIDES, *parts, f"hydra.run.dir={folder}", plant=plant)
    process.join(120)
    if killed:
        assert process.exitcode not in (0, 2), said(folder)
        process = command(folder, "resume", str(folder))
        process.join(120)
    assert process.exitcode == 0, said(folder)


SLOW = {"islands", "swarm", "sensed"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in RUNS])
def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, name: str) -> None:
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    run(whole, RUNS[name])
    run(killed, RUNS[name], killed=KILLED.get(name, 14))
    assert content(killed) == content(whole)
    record = pq.read_table(whole / "generations.parquet").to_pylist()
    operators = set(pq.read_table(whole / "genomes.parquet")["operator"].to_pylist())
    if name == "islands":
        assert "migration" in operators
    if name == "written":
        assert "reflection" in operators
        assert sum(row["written"] for row in record) > 0
    if name == "words":
        said = read_table(whole, "transitions")
        assert set(said["answer_tokens"].combine_chunks().value_lengths().to_pylist()) == {1, 2}
        assert pc.sum(pc.invert(said["readable"])).as_py() == sum(row["unreadable"] for row in record) > 0
        assert "finetune" in operators
    shutil.rmtree(tmp_path / "killed")
