"""Killed at any moment, a run goes on to the same end, byte for byte."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KILLS = 30
OVERRIDES = (
    "experiment=tiny", "tracking=none", "population=4", "elites=1", "episodes=2", "generations=4", "heldout=4",
    "finetune.decisions=64", "environment.horizon=40",
)  # fmt: skip
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["evo.build", "evo.launch", "evo.operators.variation", "finetune.methods.advantage_weighted", "peft"]
)


def work(folder: Path, fatal_write: int) -> None:
    """Begin the run in `folder` or go on with it; end as `kill -9` would at one of the moments around a write."""
    from evo.build import build_run, read_plan
    from evo.launch import launch
    from evo.outputs import claim_folder
    from fitness import files

    os.chdir(folder.parent)
    flush, writes = files._flush, count(1)

    def flush_or_die(path: Path) -> None:
        if next(writes) == fatal_write:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)

    files._flush = flush_or_die
    if not (folder / "config.yaml").exists():
        plan = replace(build_run(OVERRIDES), folder=folder)
        shutil.rmtree(folder, ignore_errors=True)
        claim_folder(folder, plan.yaml)
    launch(read_plan(folder))


def leg(folder: Path, fatal_write: int = 0, seconds: float | None = None) -> bool:
    """Work on the run in a process of its own until it ends or is killed; tell whether it ended."""
    process = _CONTEXT.Process(target=work, args=(folder, fatal_write))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def content(folder: Path) -> dict[str, str]:
    """Return the digest of everything that a run leaves but what holds times, and the page drawn from it."""
    timed = {"generations.parquet", "manifest.json", "report.html", ".lock"}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in timed)
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files if "checkpoints" not in path.parts}
    for path in folder.glob("checkpoints/*/checkpoint.json"):
        tree = json.loads(path.read_bytes())["content"]
        del tree["wall_seconds"], tree["usage"]["model_seconds"], tree["training"]["seconds"], tree["identity"]
        found[str(path.relative_to(folder))] = json.dumps(tree, sort_keys=True).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """Return what the run leaves that nobody disturbs, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    assert leg(folder)
    return content(folder), time.monotonic() - began


def kill_again_and_again(
    place: Path, kills: int, whole: dict[str, str], seconds: float, rng: np.random.Generator
) -> None:
    """Work in legs until `kills` were killed, at some time or at some write; all that end must be the whole run."""
    folder, killed = place / "run", 0
    while killed < kills:
        at_a_write = killed % 2
        if leg(folder, int(rng.integers(1, 60))) if at_a_write else leg(folder, seconds=rng.uniform(0.0, seconds)):
            assert content(folder) == whole
            shutil.rmtree(folder)
        else:
            killed += 1
    assert leg(folder)
    assert content(folder) == whole


def test_killed_at_any_moment(tmp_path: Path, whole: tuple[dict[str, str], float]) -> None:
    kill_again_and_again(tmp_path, KILLS, *whole, np.random.default_rng(0))


@pytest.mark.slow
def test_killed_at_a_hundred_moments(tmp_path: Path, whole: tuple[dict[str, str], float]) -> None:
    kill_again_and_again(tmp_path, 100, *whole, np.random.default_rng(1))


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Return a run that was ended by the forty-fifth write, in its third generation."""
    assert not leg(tmp_path / "run", 45)
    assert len(list((tmp_path / "run/checkpoints").glob("generation=*"))) == 2
    return tmp_path / "run"


def command(folder: Path, *arguments: str) -> Any:
    """Start a command of Forager's in a process of its own, with what it says in `folder`/../said."""
    process = _CONTEXT.Process(target=_say, args=(folder, arguments))
    process.start()
    return process


def _say(folder: Path, arguments: Sequence[str]) -> None:
    from evo.cli import main

    said = (folder.parent / "said").open("w", buffering=1)
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    raise SystemExit(main(arguments))


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_damaged_checkpoint_costs_a_generation_and_nothing_else(
    half: Path, whole: tuple[dict[str, str], float]
) -> None:
    newest = sorted(half.glob("checkpoints/*/checkpoint.json"))[-1]
    newest.write_bytes(newest.read_bytes().replace(b'"asked": false', b'"asked": true'))
    process = command(half, "resume", str(half))
    process.join(60)
    assert process.exitcode == 0
    assert content(half) == whole[0]
    assert (
        f"{newest.parent}: expected a whole checkpoint, got a content that does not fit"
        in (half.parent / "said").read_text()
    )


@pytest.mark.parametrize(
    ("number", "times", "code", "name"),
    [
        (signal.SIGINT, 1, 130, "SIGINT"),
        (signal.SIGINT, 2, 130, "SIGINT"),
        (signal.SIGTERM, 1, 143, "SIGTERM"),
        (signal.SIGHUP, 1, 129, "SIGHUP"),
    ],
)
def test_a_signal_stops_the_run_and_says_how_to_go_on(
    tmp_path: Path, whole: tuple[dict[str, str], float], number: int, times: int, code: int, name: str
) -> None:
    folder = tmp_path / "run"
    process = command(folder, "evolve", *OVERRIDES, f"hydra.run.dir={folder}")
    wait_for(lambda: any(folder.glob("checkpoints/generation=*")))
    for _ in range(times):
        os.kill(process.pid, number)
        time.sleep(0.05)
    process.join(60)
    assert process.exitcode == code
    said = (tmp_path / "said").read_text()
    assert f"go on with: forager resume {folder}" in said
    assert said.splitlines()[-1] == f"forager: stopped by {name}"
    assert "Traceback" not in said
    assert not (folder / "summary.json").exists()
    resumed = command(folder, "resume", str(folder))
    resumed.join(120)
    assert resumed.exitcode == 0
    assert content(folder) == whole[0]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = command(folder, "evolve", *OVERRIDES, f"hydra.run.dir={folder}")
    wait_for(lambda: any(folder.glob("checkpoints/generation=*")))
    other = tmp_path / "other"
    other.mkdir()
    second = command(other / "x", "resume", str(folder))
    second.join(60)
    process.kill()
    process.join()
    assert second.exitcode == 2
    assert "expected a run that nobody works on" in (other / "said").read_text()


def test_a_run_of_another_version_is_refused_by_name(half: Path) -> None:
    for path in half.glob("checkpoints/*/checkpoint.json"):
        content = json.loads(path.read_bytes())["content"] | {"schema": 0}
        checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({"sha256": checksum, "content": content}))
    process = command(half, "resume", str(half))
    process.join(60)
    assert process.exitcode == 2
    assert "expected a checkpoint of schema 1, got schema 0" in (half.parent / "said").read_text()


def test_what_has_ended_is_left_alone(tmp_path: Path) -> None:
    assert leg(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    process = command(tmp_path / "run", "resume", str(tmp_path / "run"))
    process.join(60)
    assert process.exitcode == 0
    assert "has come to its end already" in (tmp_path / "said").read_text()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    process = command(tmp_path / "run", "resume", str(tmp_path / "none"))
    process.join(60)
    assert process.exitcode == 2
    assert "run: expected the folder of a run (with config.yaml in it)" in (tmp_path / "said").read_text()
