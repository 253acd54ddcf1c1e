"""Runs in processes of their own, forked from one that has imported everything: begun, disturbed, killed, compared."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

OVERRIDES = (
    "experiment=tiny", "tracking=none", "population=4", "elites=2", "episodes=2", "generations=3", "heldout=4",
    "finetune.decisions=64", "environment.horizon=40",
    "split='flee wolves far. eat when low. drink when fair. den when cold. water first. search east. then roam.'",
)  # fmt: skip
"""A run of a few seconds."""
Plant = Callable[[], None]
"""Done in the process before the command begins; plants a fault."""
_TIMED = ("generations.parquet", "manifest.json", "report.html", ".lock")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["evo.build", "evo.launch", "evo.operators.variation", "finetune.methods.advantage_weighted", "peft"]
)


def command(folder: Path, *arguments: str, plant: Plant | None = None) -> Any:
    """Begin a command of Forager's; what it says goes to a file `said` beside `folder`."""
    folder.parent.mkdir(exist_ok=True)
    process = _CONTEXT.Process(target=_say, args=(folder.parent, arguments, plant))
    process.start()
    return process


def work(folder: Path, plant: Plant | None = None) -> Any:
    """Begin the run in `folder`, or go on with it."""
    if (folder / "config.yaml").exists():
        return command(folder, "resume", str(folder), plant=plant)
    shutil.rmtree(folder, ignore_errors=True)
    return command(folder, "evolve", *OVERRIDES, f"hydra.run.dir={folder}", plant=plant)


def leg(folder: Path, plant: Plant | None = None, seconds: float | None = None) -> bool:
    """Work on the run until it ends or is killed, `seconds` later at most; tell whether it ended."""
    process = work(folder, plant)
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL), said(folder)
    return bool(process.exitcode == 0)


def said(folder: Path) -> str:
    """Return what the last command of a run said."""
    return (folder.parent / "said").read_text()


def content(folder: Path) -> dict[str, str]:
    """Return the digest of everything that a run leaves but what holds times, and the page drawn from it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _TIMED)
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "checkpoint.json"}
    for path in folder.glob("checkpoints/*/checkpoint.json"):
        tree = json.loads(path.read_bytes())["content"]
        del tree["settings"]  # of config.yaml, which is compared itself
        del tree["wall_seconds"], tree["usage"]["model_seconds"], tree["training"]["seconds"], tree["identity"]
        found[str(path.relative_to(folder))] = json.dumps(tree, sort_keys=True).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def wait_for(there: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as something is so."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def at_write(number: int, do: Callable[[Path], None]) -> None:
    """Plant: do something to the path that is about to be flushed to disk for the `number`-th time."""
    from fitness import files

    flush, writes = files._flush, count(1)

    def disturbed(path: Path) -> None:
        if next(writes) == number:
            do(path)
        flush(path)

    files._flush = disturbed


def heed_signals() -> None:
    """Plant: no signal is ignored, whatever began the tests (`nohup` has SIGHUP ignored, `&` has Ctrl-C)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def kill_at_write(number: int) -> Plant:
    """Return the plant that ends the process as `kill -9` does, in the middle of writing something."""
    return partial(at_write, number, _die)


def _die(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _say(place: Path, arguments: Sequence[str], plant: Plant | None) -> None:
    from evo.cli import main

    os.chdir(place)
    told = (place / "said").open("w", buffering=1)
    os.dup2(told.fileno(), 1)
    os.dup2(told.fileno(), 2)
    if plant:
        plant()
    raise SystemExit(main(arguments))
