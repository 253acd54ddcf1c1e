"""Ended at any moment, a run goes on to the same end, byte for byte."""

import hashlib
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.integration.runs import OVERRIDES, command, content, kill_at_write, leg, said, wait_for, work


def kill_again_and_again(place: Path, kills: int, undisturbed: tuple[dict[str, str], float], seed: int) -> None:
    """Work in legs until `kills` were killed, at some time or at some write; all that end must be the whole run."""
    rng, folder, killed, (whole, seconds) = np.random.default_rng(seed), place / "run", 0, undisturbed
    while killed < kills:
        at_a_write = killed % 2
        plant = kill_at_write(int(rng.integers(1, 60))) if at_a_write else None
        if leg(folder, plant, None if at_a_write else rng.uniform(0.0, seconds)):
            assert content(folder) == whole
            shutil.rmtree(folder)
        else:
            killed += 1
    assert leg(folder)
    assert content(folder) == whole


@pytest.mark.fault("`kill -9` at any moment", "`forager resume` goes on from the last checkpoint to the same bytes")
def test_killed_at_any_moment(tmp_path: Path, undisturbed: tuple[dict[str, str], float]) -> None:
    kill_again_and_again(tmp_path, 30, undisturbed, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_a_hundred_moments(tmp_path: Path, undisturbed: tuple[dict[str, str], float]) -> None:
    kill_again_and_again(tmp_path, 100, undisturbed, seed=1)


@pytest.mark.fault("a checkpoint is torn or altered", "one line says so and the one before is used, to the same bytes")
@pytest.mark.parametrize("torn", [True, False])
def test_a_damaged_checkpoint_costs_a_generation_and_nothing_else(
    half: Path, whole: dict[str, str], torn: bool
) -> None:
    newest = sorted(half.glob("checkpoints/*/checkpoint.json"))[-1]
    data = newest.read_bytes()
    newest.write_bytes(data[: len(data) // 2] if torn else data.replace(b'"asked": false', b'"asked": true'))
    assert leg(half)
    assert content(half) == whole
    reason = "a file that cannot be read" if torn else "a content that does not fit its checksum"
    assert f"{newest.parent}: expected a whole checkpoint, got {reason}" in said(half)


@pytest.mark.fault("an adapter that a checkpoint needs is corrupt", "`forager resume` stops and names it")
def test_a_corrupt_adapter_is_named(half: Path) -> None:
    for path in half.glob("adapters/*/adapter_model.safetensors"):
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
    process = work(half)
    process.join(60)
    assert process.exitcode == 2
    assert "checkpoints/generation=000002: expected a whole checkpoint, got genome" in said(half)
    assert "Traceback" not in said(half)


@pytest.mark.fault("Ctrl-C", "the generation is finished and a checkpoint written; a second one stops at once")
@pytest.mark.fault("SIGTERM or SIGHUP", "the run stops at once, says how to go on, and goes on to the same bytes")
@pytest.mark.parametrize(
    ("number", "times", "code"),
    [(signal.SIGINT, 1, 130), (signal.SIGINT, 2, 130), (signal.SIGTERM, 1, 143), (signal.SIGHUP, 1, 129)],
)
def test_a_signal_stops_the_run_and_says_how_to_go_on(
    tmp_path: Path, whole: dict[str, str], number: signal.Signals, times: int, code: int
) -> None:
    folder = tmp_path / "run"
    process = work(folder)
    wait_for(lambda: any(folder.glob("checkpoints/generation=*")))
    for _ in range(times):
        with suppress(ProcessLookupError):  # the first may have been enough
            os.kill(process.pid, number)
        time.sleep(0.02)
    process.join(60)
    assert process.exitcode == code
    assert f"go on with: forager resume {folder}" in said(folder)
    assert said(folder).splitlines()[-1] == f"forager: stopped by {number.name}"
    assert "Traceback" not in said(folder)
    assert not (folder / "summary.json").exists()
    assert leg(folder)
    assert content(folder) == whole


@pytest.mark.fault("a second process works on the run", "it refuses")
def test_a_second_process_is_refused(tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other" / "run"
    process = work(folder)
    wait_for(lambda: any(folder.glob("checkpoints/generation=*")))
    second = command(other, "resume", str(folder))
    second.join(60)
    process.kill()
    process.join()
    assert second.exitcode == 2
    assert "expected a run that nobody works on" in said(other)


@pytest.mark.fault(
    "another version of Forager wrote the checkpoints", "`forager resume` refuses and names both versions"
)
def test_a_run_of_another_version_is_refused_by_name(half: Path) -> None:
    for path in half.glob("checkpoints/*/checkpoint.json"):
        tree = json.loads(path.read_bytes())["content"] | {"schema": 0}
        checksum = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({"sha256": checksum, "content": tree}))
    process = work(half)
    process.join(60)
    assert process.exitcode == 2
    assert "expected a checkpoint of schema 1, got schema 0" in said(half)


def test_what_has_ended_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert leg(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert leg(folder)
    assert "has come to its end already" in said(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("there", ["", "seed: [", "- 1\n", "seed: 0\npopulation: 3\n"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, there: str) -> None:
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
        (folder / "config.yaml").write_text(there)
    process = command(folder, "resume", str(folder))
    process.join(60)
    assert process.exitcode == 2
    assert "expected" in said(folder)
    assert "Traceback" not in said(folder)


def test_the_run_that_is_refused_is_begun_by_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = command(folder, "evolve", *OVERRIDES, "population=1", f"hydra.run.dir={folder}")
    process.join(60)
    assert process.exitcode == 2
    assert not folder.exists()
