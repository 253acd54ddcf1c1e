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

from tests.integration.runs import OVERRIDES, command, content, heed_signals, kill_at_write, leg, said, wait_for, work


def kill_again_and_again(place: Path, kills: int, undisturbed: tuple[dict[str, str], float], seed: int) -> None:
    """Work in legs until `kills` were killed, at some time or at some write; all that end must be the whole run."""
    rng, folder, killed, (whole, seconds) = np.random.default_rng(seed), place / "run", 0, undisturbed
    while killed < kills:
        at_a_write = killed % 2
        plant = kill_at_write(int(rng.integers(1, 90))) if at_a_write else None
        if leg(folder, plant, None if at_a_write else rng.uniform(0.0, seconds)):
            assert content(folder) == whole
            shutil.rmtree(folder)
        else:
            killed += 1
    assert leg(folder)
    assert content(folder) == whole


@pytest.mark.fault("`kill -9` at any moment", "`forager resume` goes on from the last checkpoint to the same bytes")
@pytest.mark.timeout(900)
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


def alter(path: Path) -> None:
    """Flip one bit near the end of a file."""
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def named_by(checkpoint: Path) -> set[str]:
    """Return the adapters that a checkpoint needs and has none of its own of."""
    tree = json.loads((checkpoint / "checkpoint.json").read_bytes())["content"]
    names = {genome["adapter"] for part in ("genomes", "founders") for genome in tree[part]}
    return names - {path.name for path in checkpoint.glob("adapters/*")}


def refused(folder: Path) -> list[str]:
    """Go on with a run that cannot be gone on with; return what is said, which is no advice to do it again."""
    process = work(folder)
    process.join(60)
    assert process.exitcode == 2
    lines = said(folder).splitlines()
    assert len(set(lines)) == len(lines)
    assert "go on with" not in said(folder)
    assert "Traceback" not in said(folder)
    return lines


@pytest.mark.fault(
    "an adapter that a checkpoint needs is corrupt",
    "lines name it, the checkpoint before is used and the adapter is written anew, to the same bytes",
)
def test_a_corrupt_adapter_is_written_anew(half: Path, whole: dict[str, str]) -> None:
    before, newest = sorted(half.glob("checkpoints/generation=*"))
    young = sorted(named_by(newest) - named_by(before))
    assert young
    for digest in young:
        alter(half / "adapters" / digest / "adapter_model.safetensors")
    assert leg(half)
    assert f"{newest}: expected a whole checkpoint, got adapters that are missing or damaged: " in said(half)
    assert str(half / "adapters" / young[0]) in said(half)
    assert content(half) == whole


@pytest.mark.fault("an adapter that both checkpoints need is corrupt", "`forager resume` stops and names it")
def test_where_no_checkpoint_is_whole_nothing_is_removed(half: Path) -> None:
    for path in half.glob("adapters/*/adapter_model.safetensors"):
        alter(path)
    before = {name: digest for name, digest in content(half).items() if ".tmp" not in name}  # drafts are no loss
    lines = refused(half)
    assert len(lines) == 2
    assert "checkpoints/generation=000002: expected a whole checkpoint, got adapters that are missing" in lines[0]
    assert content(half) == before


@pytest.mark.fault("config.yaml of a run that goes on was edited", "`forager resume` refuses in one sentence")
def test_edited_settings_are_refused(half: Path, whole: dict[str, str]) -> None:
    path = half / "config.yaml"
    text = path.read_text()
    path.write_text(text.replace("temperature: ", "temperature: 1"))
    (line,) = refused(half)
    assert line.startswith(f"forager: {path}: expected the settings that the run began with, got others: restore")
    path.write_text(f"# a note\n{text}")
    assert leg(half)
    path.write_text(text)
    assert content(half) == whole


@pytest.mark.fault(
    "`checkpoints/` of a run that goes on is gone", "one line says that it begins again; to the same bytes"
)
def test_a_run_without_checkpoints_begins_again_and_says_so(half: Path, whole: dict[str, str]) -> None:
    shutil.rmtree(half / "checkpoints")
    assert leg(half)
    assert f"{half}: there is no checkpoint, so the run begins again with generation 0" in said(half)
    assert content(half) == whole


def interrupt_the_final_table() -> None:
    """Plant: Ctrl-C is pressed while the held-out worlds are lived."""
    from evo import evolution

    def measure(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    evolution.measure = measure


@pytest.mark.fault("Ctrl-C while no generation is in work", "the run stops at once, and goes on to the same bytes")
def test_ctrl_c_after_the_last_generation_stops_at_once(tmp_path: Path, whole: dict[str, str]) -> None:
    folder = tmp_path / "run"
    process = work(folder, interrupt_the_final_table)
    process.join(60)
    assert process.exitcode == 130
    assert "will be finished" not in said(folder)
    assert said(folder).count(f"go on with: forager resume {folder}") == 1
    lived = {path: path.stat().st_mtime_ns for path in folder.glob("telemetry/*/*")}
    assert leg(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("telemetry/*/*")} == lived
    assert content(folder) == whole
    summary = json.loads((folder / "summary.json").read_text())
    assert [*summary["split"]] == ["neither", "prompt", "weights", "both"]
    assert summary["split"]["both"]["lifespan"] == summary["heldout"]["evolved"]["lifespan"]


@pytest.mark.fault(
    "Ctrl-C in a generation", "the generation is finished and a checkpoint written; a second one stops at once"
)
@pytest.mark.fault("SIGTERM or SIGHUP", "the run stops at once, says how to go on, and goes on to the same bytes")
@pytest.mark.parametrize(
    ("number", "times", "code"),
    [(signal.SIGINT, 1, 130), (signal.SIGINT, 2, 130), (signal.SIGTERM, 1, 143), (signal.SIGHUP, 1, 129)],
)
def test_a_signal_stops_the_run_and_says_how_to_go_on(
    tmp_path: Path, whole: dict[str, str], number: signal.Signals, times: int, code: int
) -> None:
    folder = tmp_path / "run"
    process = work(folder, heed_signals)
    wait_for(lambda: any(folder.glob("checkpoints/generation=*")))
    for _ in range(times):
        with suppress(ProcessLookupError):  # the first may have been enough
            os.kill(process.pid, number)
        time.sleep(0.02)
    process.join(60)
    assert process.exitcode == code
    assert said(folder).count(f"go on with: forager resume {folder}") == 1
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
    assert "go on with" not in said(other)


@pytest.mark.fault(
    "another version of Forager wrote the checkpoints", "`forager resume` refuses and names both versions"
)
def test_a_run_of_another_version_is_refused_by_name(half: Path) -> None:
    for path in half.glob("checkpoints/*/checkpoint.json"):
        tree = json.loads(path.read_bytes())["content"] | {"schema": 0}
        checksum = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({"sha256": checksum, "content": tree}))
    (line,) = refused(half)
    assert "expected a checkpoint of schema 3, got schema 0" in line


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
