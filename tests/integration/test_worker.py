"""A run whose engine works in a process of its own."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.integration.runs import OVERRIDES, command, content, said, wait_for

_NAMES_THE_ENGINE = {"config.yaml"}


def kill_the_worker_twice(run: Path) -> None:
    """Plant: the engine's process is killed while it begins, and in mid-generation."""

    def kill() -> None:
        os.kill(_wait_for_a_worker(), signal.SIGKILL)
        wait_for(lambda: any(run.glob("checkpoints/generation=*")))
        time.sleep(0.2)
        os.kill(_wait_for_a_worker(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


def _wait_for_a_worker() -> int:
    while True:
        for child in _children():
            if os.getpgid(child) == child:
                return child
        time.sleep(0.05)


def _children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


@pytest.mark.fault(
    "the engine's process is killed while it begins, and in mid-generation", "the run goes on to the same bytes"
)
def test_a_worker_that_is_killed_changes_nothing(tmp_path: Path, whole: dict[str, str]) -> None:
    folder = tmp_path / "run"
    process = command(
        folder,
        "evolve",
        *OVERRIDES,
        "engine=worker",
        f"hydra.run.dir={folder}",
        plant=partial(kill_the_worker_twice, folder),
    )
    process.join(200)
    assert process.exitcode == 0, said(folder)
    assert "Traceback" not in said(folder)
    found = content(folder)
    assert {name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name)} == _NAMES_THE_ENGINE
