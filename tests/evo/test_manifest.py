"""What a run was made with is told as it is."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from evo import manifest

ROOT = Path(__file__).resolve().parents[2]


def test_versions_and_hardware_are_those_at_hand() -> None:
    told = manifest.made_with()
    assert told["packages"]["torch"] == torch.__version__
    assert told["machine"]["cores"] == os.cpu_count()
    assert told["machine"]["processor"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the commit of a checkout")
def test_the_commit_is_the_one_that_is_checked_out() -> None:
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    assert manifest.made_with()["commit"] in (head, f"{head}+")


def test_without_git_the_commit_is_not_known_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert manifest.made_with()["commit"] is None


def test_where_no_name_is_told_the_processor_is_its_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "processor : 0\nFeatures : fp\n")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert manifest.processor() == "riscv64"
