"""Every command and every program of docs/tutorial.md runs, in their order, in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STOPPED = {0, 124, 130}
"""What `timeout` answers when it had to press Ctrl-C, and what the run does; a fast machine was done by then."""


def steps() -> list[list[str]]:
    """Return the page's command lines, programs among them."""
    found: list[list[str]] = []
    for kind, text in _BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text()):
        if kind == "python":
            found.append([sys.executable, "-c", text])
        else:
            found += [["bash", "-c", line.removeprefix("$ ")] for line in text.splitlines()]
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_tutorial(tmp_path: Path) -> None:
    commands = steps()
    assert len(commands) == 13
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}
    for command in commands:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        cut_off = "timeout" in command[-1]
        assert done.returncode in (_STOPPED if cut_off else {0}), f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, command[-1]
        if "lives of" in command[-1]:
            assert "lives of" in done.stdout
    outputs = tmp_path / "outputs"
    for page in ("first/report.html", "stopped/report.html", "ablation-lesson/comparison/report.html"):
        assert (outputs / page).stat().st_size > 10_000
    assert (outputs / "workspace.json").exists()
    assert (outputs / "tune-lesson" / "study.db").exists()
