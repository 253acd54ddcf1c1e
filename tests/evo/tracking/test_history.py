"""What a tracker remembers, and the chart that it draws of it."""

import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from evo.tracking.band_chart import POINTS, draw_bands
from evo.tracking.curves import BY_DECISIONS, curves, quantiles
from evo.tracking.fame import FAMOUS, hall_of_fame
from evo.tracking.history import History, Spread
from tests.evo import fake_run


def members(*scores: float) -> tuple[fake_run.GenomeRow, ...]:
    rows = fake_run.genomes(0)[: len(scores)]
    return tuple(replace(row, score=score, fitness=score) for row, score in zip(rows, scores, strict=True))


def test_quantiles_are_of_the_scores_that_there_are() -> None:
    assert quantiles(members(4, 0, math.nan, 1, 3, 2)) == pytest.approx((0.2, 1.0, 2.0, 3.0, 3.8))
    assert all(math.isnan(value) for value in quantiles(members(math.nan)))


def test_the_same_numbers_are_there_over_generations_and_over_decisions() -> None:
    logged = curves(fake_run.record(2), members(0, 1, 2, 3, 4))
    assert (logged["generation"], logged["decisions"]) == (2, 18_000)
    assert logged["population/q05"] == pytest.approx(0.2)
    for name in BY_DECISIONS:
        assert logged[f"by_decisions/{name}"] == logged[f"population/{name}"]


def test_everybody_is_remembered_with_birth_and_latest_standing() -> None:
    history, before = History(), ()
    for generation in range(4):
        before = fake_run.genomes(generation, before)
        history.add(fake_run.record(generation, 4), before)
    everybody = history.everybody(1000)
    assert [one.last.id for one in everybody] == list(range(16 + 3 * 8))
    assert {one.born for one in everybody if one.last.id < 16} == {0}
    for row in before:
        assert history.latest(row.id) == row
    few = {one.last.id for one in history.everybody(30)}
    assert len(few) == 30
    assert {row.id for row in before} <= few  # the living are not left out


def test_a_run_that_goes_on_is_read_back_up_to_its_checkpoint(tmp_path: Path) -> None:
    folder = fake_run.write_run(tmp_path, generations=4)
    history = History.read(folder, 3)
    assert [one.generation for one in history.spreads] == [0, 1, 2]
    assert history.spreads[0].scores == pytest.approx(quantiles(fake_run.genomes(0)))
    assert max(one.last.generation for one in history.everybody(1000)) == 2


def test_the_chart_has_a_point_for_each_generation_on_both_axes_and_stays_small() -> None:
    spreads = [
        Spread(generation=n, decisions=50 * n * n, scores=(-0.1, 0.1, 0.2, 0.3, 0.1 + 1.2 * n / 4)) for n in range(5)
    ]
    page = draw_bands([*spreads, Spread(generation=5, decisions=9, scores=(math.nan,) * 5)])
    svgs = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert [[text.text for text in svg.iter("text")][-1] for svg in svgs] == ["generation", "decisions"]
    first, second = (next(line.get("points", "").split() for line in svg.iter("polyline")) for svg in svgs)
    assert len(first) == len(second) == 5
    across = [[float(point.split(",")[0]) for point in line] for line in (first, second)]
    share = [(line[2] - line[0]) / (line[4] - line[0]) for line in across]
    assert share == pytest.approx([2 / 4, 4 / 16], abs=0.01)  # of the way: 2 of 4 generations, 200 of 800 decisions
    long = draw_bands([replace(spreads[0], generation=n) for n in range(10 * POINTS)])
    assert len(long) < 120_000
    assert "800" in page
    assert "Nothing is known yet" in draw_bands([])


def test_the_hall_of_fame_is_the_fittest_with_different_adapters_that_are_on_disk(tmp_path: Path) -> None:
    rows = [replace(row, adapter="same" if row.id < 2 else row.adapter) for row in members(9, 8, 7, 6, 5, 4, 3, 2)]
    for row in rows[:2] + rows[3:]:  # the third was not kept
        (tmp_path / "adapters" / row.adapter).mkdir(parents=True, exist_ok=True)
        (tmp_path / "adapters" / row.adapter / "adapter_model.safetensors").write_bytes(b"x")
    famous = hall_of_fame(rows, tmp_path)
    assert [one.row.id for one in famous] == [0, 3, 4, 5, 6]
    assert [path.name for path in famous[0].files] == ["adapter_model.safetensors"]
    assert [one.row.id for one in hall_of_fame(rows, tmp_path, rows[7])] == [7, 0, 3, 4, 5]
    assert len(famous) == FAMOUS
    later = [replace(row, generation=row.generation + 1) if row.id == 6 else row for row in rows]
    assert [one.row.id for one in hall_of_fame(later, tmp_path)] == [0, 3, 4, 5, 6]  # of all times, not of the last
