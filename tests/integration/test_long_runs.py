"""Two hundred generations: flat in memory, time and open files, and on disk what the documentation says."""

import json
import resource
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fitness.telemetry import read_table
from tests.integration.runs import OVERRIDES, command, content, leg, said, wait_for

GENERATIONS = 200


def watch(notes: Path) -> None:
    """Plant: after every generation, write down how much the process holds."""
    from evo.checkpoint import Checkpoints

    write = Checkpoints.write

    def noted(self, checkpoint):  # type: ignore[no-untyped-def]
        write(self, checkpoint)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        size = sum(path.stat().st_size for path in (notes.parent / "run").rglob("*") if path.is_file())
        files = len(list(Path("/proc/self/fd").iterdir()))
        with notes.open("a") as file:
            file.write(json.dumps([pages * resource.getpagesize(), files, size]) + "\n")

    Checkpoints.write = noted  # type: ignore[method-assign]


def growth(values: NDArray[np.float64]) -> float:
    """Return by how much a line through the values rises from end to end, as a share of their median."""
    slope = np.polyfit(np.arange(len(values)), values, 1)[0]
    return float(slope * len(values) / np.median(values))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("retention", [(), ("retention.adapters=3", "retention.telemetry=3")])
def test_two_hundred_generations_are_flat(tmp_path: Path, retention: tuple[str, ...]) -> None:
    folder = tmp_path / "run"
    mine = [one for one in OVERRIDES if not one.startswith(("generations", "environment"))]
    process = command(
        folder, "evolve", *mine, *retention, f"generations={GENERATIONS}", "environment.horizon=40",
        f"hydra.run.dir={folder}", plant=partial(watch, tmp_path / "notes"),
    )  # fmt: skip
    process.join()
    assert process.exitcode == 0, said(folder)
    memory, files, size = np.array([json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]).T
    assert growth(memory[20:]) < 0.05
    assert files[20:].max() <= files[20] + 1
    seconds = np.array(read_table(folder, "generations")["seconds"].to_pylist())[20:]
    assert np.median(seconds[-60:]) < 1.25 * np.median(seconds[:60])
    if retention:
        assert len(list((folder / "telemetry/episodes").iterdir())) == 3
        assert growth(size[20:]) < 0.5
    else:
        first, second = np.array_split(np.diff(size[20:]), 2)
        assert 0.5 < second.mean() / first.mean() < 2.0


@pytest.mark.parametrize("generations", [1, 2])
def test_what_need_not_be_kept_is_removed_and_the_run_can_still_go_on(tmp_path: Path, generations: int) -> None:
    keep = (f"retention.adapters={generations}", f"retention.telemetry={generations}")
    for place in ("whole", "killed"):
        folder = tmp_path / place / "run"
        begun = command(folder, "evolve", *OVERRIDES, *keep, f"hydra.run.dir={folder}")
        if place == "killed":
            wait_for(lambda: len(list(folder.glob("checkpoints/generation=*"))) == 2)  # noqa: B023 - called at once
            begun.kill()
        begun.join()
        assert (folder / "summary.json").exists() == (place == "whole")
        assert leg(folder)
    whole, killed = (content(tmp_path / place / "run") for place in ("whole", "killed"))
    assert killed == whole
    folder = tmp_path / "whole" / "run"
    assert len(list((folder / "telemetry/transitions").iterdir())) == generations
    assert (folder / json.loads((folder / "best.json").read_text())["adapter"]).is_dir()
