"""Parts of the genetics in the loop itself: killed and resumed, they end in the same bytes."""

import json
import math
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

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
    "screened": ("screening=value_head", "population=8", "screening.decisions=4", "screening.probes=4", "elites=1"),
    "sensed": ("variation/adapter_mutation=proximal", "variation/adapter_crossover=slerp", "variation.halves=0.5"),
}


def run(folder: Path, parts: tuple[str, ...], killed: bool = False) -> None:
    """Run to the end; if `killed`, be killed after some writes first, and resumed."""
    plant = kill_at_write(40 if "screening=value_head" in parts else 14) if killed else None  # a head is known by then
    process = command(folder, "evolve", *OVERRIDES, *parts, f"hydra.run.dir={folder}", plant=plant)
    process.join(120)
    if killed:
        assert process.exitcode not in (0, 2), said(folder)
        process = command(folder, "resume", str(folder))
        process.join(120)
    assert process.exitcode == 0, said(folder)


SLOW = {"islands", "screened", "swarm", "sensed"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in RUNS])
def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path: Path, name: str) -> None:
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    run(whole, RUNS[name])
    run(killed, RUNS[name], killed=True)
    assert content(killed) == content(whole)
    record = pq.read_table(whole / "generations.parquet").to_pylist()
    operators = set(pq.read_table(whole / "genomes.parquet")["operator"].to_pylist())
    if name == "islands":
        assert "migration" in operators
    if name == "written":
        assert "reflection" in operators
        assert sum(row["written"] for row in record) > 0
    if name == "screened":
        assert [row["screened"] > 0 for row in record] == [False, True, True]
        assert [math.isnan(row["screen_rank"]) for row in record] == [True, False, False]
        spent = [json.loads((place / "summary.json").read_text())["budget"] for place in (whole, killed)]
        assert spent[0] == spent[1]
    shutil.rmtree(tmp_path / "killed")
