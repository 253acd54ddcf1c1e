"""A disk that fills up, a folder that is lost, a clock that jumps: a clear sentence, and the run goes on after it."""

import errno
import os
import resource
import shutil
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.integration.runs import Plant, at_write, content, leg, said, work


def full(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def small_files() -> None:
    """Plant: no file may be larger than 100 KB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def lost(path: Path) -> None:
    """Put a file where the run's telemetry was."""
    run = next(parent for parent in path.parents if (parent / "config.yaml").exists())
    shutil.move(run / "telemetry", run / "elsewhere")
    (run / "telemetry").write_text("")


def mend(run: Path) -> None:
    if (run / "elsewhere").exists():
        (run / "telemetry").unlink()
        (run / "elsewhere").rename(run / "telemetry")


@pytest.mark.fault(
    "the disk fills up in mid-generation", "the run stops with one sentence; `forager resume` goes on to the same bytes"
)
@pytest.mark.fault(
    "the run's folder cannot be written any more",
    "the run stops with one sentence; `forager resume` goes on to the same bytes",
)
@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (partial(at_write, 20, full), "No space left on device"),
        (partial(at_write, 33, full), "No space left on device"),
        (partial(at_write, 41, full), "No space left on device"),
        (small_files, "File too large"),
        (partial(at_write, 30, lost), "telemetry"),
    ],
)
def test_it_stops_with_a_sentence_and_goes_on(
    tmp_path: Path, whole: dict[str, str], plant: Plant, sentence: str
) -> None:
    folder = tmp_path / "run"
    process = work(folder, plant)
    process.join(60)
    assert process.exitcode == 2
    last = said(folder).splitlines()[-1]
    assert last.startswith("forager: ")
    assert sentence in last
    assert f"forager resume {folder}" in said(folder)
    assert "Traceback" not in said(folder)
    mend(folder)
    assert leg(folder)
    assert content(folder) == whole


def jumping_clock() -> None:
    """Plant: the time of day goes back and forth by days."""
    now, calls = time.time, count()
    time.time = lambda: now() + 86_400 * (-1) ** next(calls) * (next(calls) % 7)


@pytest.mark.fault("the clock jumps", "nothing: no decision, order or duration depends on the time of day")
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, whole: dict[str, str]) -> None:
    assert leg(tmp_path / "run", jumping_clock)
    assert content(tmp_path / "run") == whole
