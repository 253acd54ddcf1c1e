"""Parts of the genetics in the loop itself: killed and resumed, they end in the same bytes."""

import json
import math
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
    "looking_back": ("lookback=3", "retention.telemetry=3"),
    "cloud": ("algorithm=cma_es", "population=6"),
    "swarm": ("algorithm=particle_swarm", "population=6"),
    "written": (
        "variation=strategy_written",
        "reflection=deaths",
        "elites=0",
        "population=8",
        "environment.horizon=150",
    ),
    "remembering": (
        "finetune.trainer.moments=inherit",
        "variation.adaptation.rate=[0.25,4.0]",
        "variation.adaptation.beta=[0.25,4.0]",
        "algorithm.elites_of=hall_of_fame",
        "algorithm.lifetime=2",
        "population=8",
    ),
    "baldwinian": ("algorithm.inheritance=baldwinian", "algorithm.elites_of=hall_of_fame", "population=8"),
    "screened": ("screening=value_head", "population=8", "screening.decisions=4", "screening.probes=4", "elites=1"),
    "words": (
        "engine.mode=generate",
        "engine.limit=2",
        "finetune=grpo",
        "screening=value_head",
        "screening.decisions=4",
        "screening.probes=4",
        "elites=1",
        "temperature=2.5",
        "generations=2",
        "episodes=1",
    ),
    "sensed": ("variation/adapter_mutation=proximal", "variation/adapter_crossover=slerp", "variation.halves=0.5"),
}


WRITES = {"looking_back": 40, "remembering": 75, "screened": 40, "words": 36}
"""After how many a run is killed, if not 14: with a generation behind it, and a head known by 40."""


def run(folder: Path, parts: tuple[str, ...], killed: int = 0) -> None:
    """Run to the end; be killed after some writes first, if `killed` says how many, and resumed."""
    plant = kill_at_write(killed) if killed else None
    process = command(folder, "evolve", *OVERRIDES, *parts, f"hydra.run.dir={folder}", plant=plant)
    process.join(120)
    if killed:
        assert process.exitcode not in (0, 2), said(folder)
        process = command(folder, "resume", str(folder))
        process.join(120)
    assert process.exitcode == 0, said(folder)


SLOW = {"baldwinian", "cloud", "islands", "screened", "sensed", "swarm", "written"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in RUNS])
def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, name: str) -> None:
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    run(whole, RUNS[name])
    run(killed, RUNS[name], killed=WRITES.get(name, 14))
    assert content(killed) == content(whole)
    record = pq.read_table(whole / "generations.parquet").to_pylist()
    operators = set(pq.read_table(whole / "genomes.parquet")["operator"].to_pylist())
    if name == "islands":
        assert "migration" in operators
    if name == "remembering":
        assert list(whole.glob("checkpoints/*/moments.safetensors"))
        assert len(set(pq.read_table(whole / "genomes.parquet")["rate"].to_pylist())) > 2
    if name == "looking_back":
        run(tmp_path / "short" / "run", ("retention.telemetry=3",))
        adapters = [
            pq.read_table(tmp_path / place / "run" / "genomes.parquet")["adapter"].to_pylist()
            for place in ("whole", "short")
        ]
        assert adapters[0][:8] == adapters[1][:8]  # two generations of four: there was nothing to look back at
        assert adapters[0] != adapters[1]
    if name == "baldwinian":
        judged = [row for row in record if row["accepted"] + row["refused"]]
        assert judged
        assert "finetune" in operators
    if name == "written":
        assert "reflection" in operators
        assert sum(row["written"] for row in record) > 0
    if name == "screened":
        assert [row["screened"] > 0 for row in record] == [False, True, True]
        assert [math.isnan(row["screen_rank"]) for row in record] == [True, False, False]
        spent = [json.loads((place / "summary.json").read_text())["budget"] for place in (whole, killed)]
        assert spent[0] == spent[1]
    if name == "words":
        said = read_table(whole, "transitions")
        assert set(said["answer_tokens"].combine_chunks().value_lengths().to_pylist()) == {1, 2}
        assert pc.sum(pc.invert(said["readable"])).as_py() == sum(row["unreadable"] for row in record) > 0
        assert [row["screened"] > 0 for row in record] == [False, True]
        assert "finetune" in operators
    shutil.rmtree(tmp_path / "killed")
