"""Runs side by side: the figures of each, and what was set otherwise."""

import json
from pathlib import Path

import pytest

from evo.report.compare import write_comparison
from fitness.errors import OutputError
from tests.evo import fake_run
from tests.evo.fake_run import write_run

SETTINGS = """\
seed: {seed}
environment:
  _target_: fitness.environments.forage.ForageConfig
  wolves: {wolves}
finetune:
  _target_: {finetune}
"""


def run(folder: Path, *, seed: int = 0, wolves: float = 1, finetune: str = "null") -> Path:
    write_run(folder)
    (folder / "config.yaml").write_text(SETTINGS.format(seed=seed, wolves=wolves, finetune=finetune))
    return folder


def test_each_run_has_its_line(tmp_path: Path) -> None:
    text = write_comparison([run(tmp_path / "a"), run(tmp_path / "b", seed=1)])
    assert text.count("| 0.21 (0.18 to 0.24) | 0.68 (0.63 to 0.73) | 75.0 |") == 2
    assert "The arms differ in" not in text


def test_what_differs_is_told_but_not_the_seed(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "a"),
        run(tmp_path / "b", seed=3, wolves=0, finetune="mine.Method\n  rate: 0.1"),
    ]
    told = write_comparison(runs).split("The arms differ in:\n\n")[1].splitlines()
    assert told[:2] == ["- environment.wolves: 1 (a), 0 (b)", "- finetune._target_: null (a), mine.Method (b)"]
    assert not told[2]


def test_a_number_is_the_same_however_it_was_written(tmp_path: Path) -> None:
    text = write_comparison([run(tmp_path / "a", wolves=1), run(tmp_path / "b", seed=1, wolves=1.0)])
    assert "The arms differ in" not in text


def test_a_run_without_a_summary_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "cut", finished=False)
    with pytest.raises(OutputError, match=r"run: expected the folder of a finished run with a summary\.json, given"):
        write_comparison([tmp_path / "cut"])


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff", b'{"run": "a"}'])
def test_a_bad_summary_names_its_run(tmp_path: Path, content: bytes) -> None:
    write_run(tmp_path / "bad")
    (tmp_path / "bad/summary.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"bad.*summary\.json: expected"):
        write_comparison([run(tmp_path / "good"), tmp_path / "bad"])


def test_a_summary_without_rows_names_its_run(tmp_path: Path) -> None:
    whole = json.loads(fake_run.summary().to_json())
    write_run(tmp_path / "bad")
    (tmp_path / "bad/summary.json").write_text(json.dumps({**whole, "heldout": {}}))
    with pytest.raises(OutputError, match=r"bad: summary\.json: expected rows of frozen and evolved"):
        write_comparison([tmp_path / "bad"])


@pytest.mark.parametrize("content", [b"seed: caf\xe9\n", b"seed: [\n"])
def test_settings_that_cannot_be_read_name_their_file(tmp_path: Path, content: bytes) -> None:
    (run(tmp_path / "bad") / "config.yaml").write_bytes(content)
    with pytest.raises(OutputError, match=r"bad/config\.yaml: expected"):
        write_comparison([run(tmp_path / "good"), tmp_path / "bad"])
