"""What the benchmarks say of their figures; the figures themselves are never tested."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import rates, timing
from tests.benchmarks.findings import faster, into_page, load, save, table

SECONDS = {"ours": 0.5, "slow": 2.0, "fast": 0.25}


def test_ratios_are_of_rates_and_targets_are_held_or_not() -> None:
    slow, fast = faster("case", "rows/s", 100, SECONDS, {"slow": 4.0, "fast": 1.0})
    assert (slow.ours, slow.theirs, slow.ratio, slow.held) == (200.0, 50.0, 4.0, True)
    assert (fast.theirs, fast.ratio, fast.held) == (400.0, 0.5, False)
    (untold, _) = faster("case", "rows/s", 100, SECONDS, {})
    assert untold.held is None


def test_a_page_gets_the_table_between_its_marks(tmp_path: Path) -> None:
    page, found = tmp_path / "page.md", faster("case", "rows/s", 1234, SECONDS, {"slow": 5.0})
    page.write_text("before\n<!-- measured -->\nold\n<!-- end -->\nafter\n")
    for _ in range(2):
        into_page(page, found)
    text = page.read_text()
    assert text.startswith("before\n<!-- measured -->\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert text.count("| case | rows/s | slow | 2,468 | 617 | 4 | 5 | NO |") == 1
    assert "case  rows/s  slow  2,468     617      4       5    NO" in table(found)


def test_findings_are_written_with_the_machine(tmp_path: Path) -> None:
    path = save(tmp_path / "new", "part", faster("case", "rows/s", 1, SECONDS, {"slow": 5.0}))
    content = json.loads(path.read_text())
    assert content["findings"][0]["held"] is False
    assert content["machine"]["cores"] >= 1
    assert load(tmp_path / "new", "part") == list(faster("case", "rows/s", 1, SECONDS, {"slow": 5.0}))
    assert load(tmp_path / "new", "unmeasured") == []


def test_rivals_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing.time, "sleep", lambda _: None)
    order: list[str] = []
    takes = {"a": iter([9.0, 3.0, 1.0, 2.0]), "b": iter([9.0, 30.0, 10.0, 20.0, 40.0])}

    def turn(name: str) -> timing.Turn:
        def take() -> float:
            order.append(name)
            return next(takes[name])

        return take

    assert timing.race({name: turn(name) for name in takes}, 3) == {"a": 2.0, "b": 20.0}
    assert order == ["a", "b"] * 4  # one to warm up, and a turn of a second or more is taken once


def test_errors_of_a_comparison_are_counted_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    few = rates.measure(4, 40, np.random.default_rng(0))
    assert 0 < few.score < 0.5  # intervals of four runs are too narrow
    monkeypatch.setattr(rates, "mann_whitney", lambda *_: 0.01)
    assert rates.measure(4, 4, np.random.default_rng(0)).test == 1
