"""Arms of runs: who belongs together, what is said of them, and what is written."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from evo.cli import main
from evo.report.arms import group, read_result
from evo.report.compare import write_comparison
from evo.report.comparison import compare_arms
from evo.report.differences import mann_whitney
from fitness.errors import ConfigError
from tests.evo import fake_run

SETTINGS = (
    "seed: {seed}\nenvironment: {{wolves: {wolves}}}\nfinetune: {{_target_: {finetune}}}\ntracking: {{tag: {tag}}}\n"
)


def make(
    folder: Path, seed: int, score: float, *, finetune: str = "null", wolves: int = 1, world: str = "forage"
) -> Path:
    """Write a finished run that came to a score, tracked under a name of its own."""
    fake_run.write_run(folder)
    whole = fake_run.summary()
    rows = [(name, replace(row, score=score) if name == "evolved" else row) for name, row in whole.heldout]
    told = replace(whole, run=folder.name, seed=seed, environment=world, heldout=tuple(rows))
    (folder / "summary.json").write_text(told.to_json())
    text = SETTINGS.format(seed=seed, finetune=finetune, wolves=wolves, tag=folder.name)
    (folder / "config.yaml").write_text(text)
    return folder


def arm(place: Path, name: str, scores: list[float], **settings: str) -> list[Path]:
    return [make(place / f"{name}-{seed}", seed, score, **settings) for seed, score in enumerate(scores)]


def test_runs_are_of_one_arm_if_what_matters_is_the_same(tmp_path: Path) -> None:
    folders = [*arm(tmp_path, "tuned", [0.5, 0.6], finetune="mine.Method"), *arm(tmp_path, "plain", [0.1, 0.2])]
    folders.append(make(tmp_path / "other-name", 2, 0.3))
    folders.append(make(tmp_path / "plain-0-20260101-120000", 0, 0.9))  # the same seed again says nothing new
    tuned, plain = group([read_result(folder) for folder in folders])
    assert (tuned.name, tuned.settings) == ("tuned", {"finetune._target_": "mine.Method"})
    assert plain.name == "finetune._target_=null"  # its folders do not agree on a name
    assert plain.strata(lambda run: run.evolved.score) == {"forage": [0.1, 0.2, 0.3]}
    assert [run.folder.name for run in plain.repeated] == ["plain-0-20260101-120000"]


def test_arms_with_the_same_component_may_differ_within_it(tmp_path: Path) -> None:
    # A third arm has another component, beside which the first two's own fields go without saying in the list of runs.
    methods = {"slow": "mine.Method, rate: 1", "fast": "mine.Method, rate: 2", "other": "other.Method"}
    arms = group([read_result(make(tmp_path / f"{name}-0", 0, 0.5, finetune=told)) for name, told in methods.items()])
    assert [(one.name, len(one.runs)) for one in arms] == [("slow", 1), ("fast", 1), ("other", 1)]
    assert arms[0].settings == {"finetune._target_": "mine.Method", "finetune.rate": "1"}


def test_another_environment_is_a_stratum_and_another_setting_of_it_an_arm(tmp_path: Path) -> None:
    folders = [make(tmp_path / "a-0", 0, 0.1), make(tmp_path / "b-0", 0, 0.2, world="maze", wolves=3)]
    (both,) = group([read_result(folder) for folder in folders])
    assert both.strata(lambda run: run.evolved.score) == {"forage": [0.1], "maze": [0.2]}
    folders.append(make(tmp_path / "c-0", 0, 0.3, wolves=0))
    arms = group([read_result(folder) for folder in folders])
    assert [(one.name, len(one.runs)) for one in arms] == [("a", 1), ("b", 1), ("c", 1)]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    better = arm(tmp_path, "better", [0.6, 0.7, 0.65, 0.8, 0.55], finetune="a")
    worse = arm(tmp_path, "worse", [0.1, 0.2, 0.15, 0.3, 0.05], finetune="b")
    return [*worse, *better, *arm(tmp_path, "same", [0.12, 0.21, 0.14, 0.31], finetune="c")]


def test_a_comparison_says_who_is_better_and_how_surely(folders: list[Path]) -> None:
    found = compare_arms(group([read_result(folder) for folder in folders]), np.random.default_rng(0))
    assert [one.arm.name for one in found.outcomes] == ["better", "same", "worse"]
    best = found.outcomes[0]
    assert best.score.value == pytest.approx(0.65)  # the middle of five: one is cut off at either end, 0.6, 0.65, 0.7
    assert 0.55 <= best.score.low < 0.65 < best.score.high <= 0.8
    assert [(one.first, one.second) for one in found.contrasts] == [
        ("better", "same"), ("better", "worse"), ("same", "worse")
    ]  # fmt: skip
    clear, doubtful = found.contrasts[1], found.contrasts[2]
    assert clear.p == pytest.approx(2 / 252)  # one of all 252 ways to deal ten runs out, and its mirror image
    assert clear.corrected == pytest.approx(3 * 2 / 252)
    assert clear.improvement.value == clear.effect.a == 1.0
    assert clear.difference.low > 0
    assert (
        doubtful.p
        == doubtful.corrected
        == pytest.approx(mann_whitney([[0.12, 0.21, 0.14, 0.31]], [[0.1, 0.2, 0.15, 0.3, 0.05]]))
    )
    assert doubtful.difference.low < 0 < doubtful.difference.high
    assert found.warnings == ("same: 4 seeds are few: expected at least 5, better 10, to tell arms apart",)


def test_curves_are_those_of_the_generations(folders: list[Path]) -> None:
    found = compare_arms(group([read_result(folder) for folder in folders]), np.random.default_rng(0))
    records = [fake_run.record(generation) for generation in range(3)]
    means = [record.mean for record in records]
    for one in found.outcomes:  # made-up runs all have the same generations
        band = one.bands["flops"]
        assert band.spent[[0, -1]].tolist() == [2e12, 7e12]
        assert band.score[[0, -1]] == pytest.approx([means[0], means[-1]])
        assert (band.low == band.high).all()
        assert one.areas["decisions"].value == pytest.approx((means[0] / 2 + means[1] + means[2] / 2) / 2)


def test_a_reference_is_compared_with_all_others(folders: list[Path]) -> None:
    arms = group([read_result(folder) for folder in folders])
    found = compare_arms(arms, np.random.default_rng(0), against="worse")
    assert [(one.first, one.second) for one in found.contrasts] == [("better", "worse"), ("same", "worse")]
    with pytest.raises(ConfigError, match=r"against: expected one of worse, better, same, given 'wors' \(did you mean"):
        compare_arms(arms, np.random.default_rng(0), against="wors")


def test_tables_numbers_and_pictures_are_written(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    (folders[0] / "generations.parquet").write_bytes(b"torn")
    assert main(["compare", *map(str, folders), "--against", "same"]) == 0
    text = capsys.readouterr().out
    place = folders[0].parent / "comparison"
    assert text.startswith("Warning: same: 4 seeds are few")
    assert "Warning: worse: no curves" in text
    assert "| better | 5 | 0.65 (" in text
    assert f"Written to {place}" in text
    assert (place / "comparison.md").read_text().strip() in text
    told = json.loads((place / "comparison.json").read_text())
    assert [one["name"] for one in told["arms"]] == ["better", "same", "worse"]
    assert [run["score"] for run in told["arms"][0]["runs"]] == [0.6, 0.7, 0.65, 0.8, 0.55]
    assert told["contrasts"][0]["a"] == 1.0
    for name in ("scores", "decisions", "flops"):
        picture = (place / f"{name}.svg").read_text()
        assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        assert "better" in picture


def test_a_single_run_has_a_score_and_no_interval(tmp_path: Path) -> None:
    text = write_comparison(arm(tmp_path, "alone", [0.4]), to=tmp_path / "there")
    assert "| alone | 1 | 0.40 | " in text
    told = json.loads((tmp_path / "there/comparison.json").read_text())
    assert told["arms"][0]["score"] == {"value": 0.4, "low": None, "high": None}


def test_unequal_budgets_and_code_are_told(tmp_path: Path) -> None:
    folders = [*arm(tmp_path, "a", [0.4], finetune="a"), *arm(tmp_path, "b", [0.4], finetune="b")]
    path = folders[0] / "summary.json"
    path.write_text(path.read_text().replace('"decisions": 1200000', '"decisions": 600000'))
    (folders[0] / "manifest.json").write_text('{"commit": "fedcba9"}')
    found = compare_arms(group([read_result(folder) for folder in folders]), np.random.default_rng(0))
    assert "budgets differ: a spent 6e+05 decisions, b 1.2e+06" in found.warnings
    assert "the runs were made by 2 versions of the code: 0123abc, fedcba9" in found.warnings
