"""Runs as processes of their own: `forager evolve`, or `forager resume` for one that was cut off.

Owns how such a process is begun, with which share of the cores, where what it says goes, and how it is ended. Does not
own which runs there are (`evo/ablate.py`, `evo/sweep/`).
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from evo.outputs import CLAIM, FIELD, is_held
from fitness.files import discard_drafts
from fitness.secrets import hide

PATIENCE = 60.0
"""Seconds that a run has to stop after it was told to."""
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command(folder: Path, overrides: Sequence[str]) -> list[str]:
    """Return what begins the run in `folder`, or goes on with it if it was begun.

    Args:
        folder: the run's own.
        overrides: of a new run, without its folder.
    """
    forager = [sys.executable, "-m", "evo.cli"]
    if (folder / CLAIM).exists():
        return [*forager, "resume", str(folder)]
    return [*forager, "evolve", *overrides, as_override(FIELD, folder)]


def as_override(field: str, folder: Path) -> str:
    """Return the override that sets a field to a folder, whatever characters that has."""
    text = str(folder)
    return f"{field}={text if _PLAIN.fullmatch(text) else QuotedString(text, Quote.single).with_quotes()}"


def is_taken(folder: Path) -> bool:
    """Tell whether a process works on the run in `folder`; if none does, what killed ones left half written is gone."""
    taken = is_held(folder)
    if not taken and folder.is_dir():
        discard_drafts(folder)
    return taken


def log_of(folder: Path) -> Path:
    """Return where goes what the run in `folder` says."""
    return folder.with_name(f"{folder.name}.log")


def begin(words: Sequence[str], log: Path, share: int | None) -> "subprocess.Popen[bytes]":
    """Begin a process, out of reach of the terminal's Ctrl-C.

    Args:
        words: as `command` returns them.
        log: what the process says is added to it, after the command line.
        share: of the cores, at least 1; None: what the environment says.
    """
    found = os.pathsep.join(place for place in sys.path if place)  # the same modules, wherever they are from
    environment = {**os.environ, "PYTHONPATH": found}
    if share is not None:
        environment["OMP_NUM_THREADS"] = str(share)
    with log.open("ab") as said:
        said.write(f"$ {hide(shlex.join(words[2:]))}\n".encode())
        said.flush()
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
        )


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Tell processes to stop at once, and see to it."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
