"""A whole run: how much of its time is the model's, and how much memory a thousand genomes take."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.findings import Finding

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
