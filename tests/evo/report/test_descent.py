"""Trees and words of a run's genomes, worked by hand."""

import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from evo.records import GenomeRow
from evo.report import figures
from evo.report.bands import spread
from evo.report.tree import plant
from evo.report.words import clauses, judge
from tests.evo import fake_run

ROW = fake_run.genomes(0)[0]


def row(id: int, generation: int, parents: tuple[int, ...] = (), strategy: str = "eat.", **more: object) -> GenomeRow:
    return replace(ROW, id=id, generation=generation, parents=parents, strategy=strategy, **more)


def test_kin_stand_side_by_side_and_parents_amid_their_children() -> None:
    rows = [row(0, 0), row(1, 0), row(1, 1, score=0.9), row(2, 1, (1, 0)), row(3, 1, (0,)), row(4, 2, (1,))]
    leaves = plant(rows)
    placed = {leaf.row.id: (leaf.born, leaf.height, leaf.parent) for leaf in leaves}
    assert placed == {0: (0, 0, None), 1: (0, 1.5, None), 2: (1, 1, 1), 3: (1, 0, 0), 4: (2, 2, 1)}
    assert leaves[1].row.score == 0.9


def test_a_large_run_shows_those_that_the_last_generation_descends_from() -> None:
    line = [row(i, i, (i - 1,) if i else ()) for i in range(20)]
    extinct = [row(100 + i, i, (i - 1,)) for i in range(1, 19)]
    assert [leaf.row.id for leaf in plant([*line, *extinct], most=30)] == list(range(20))
    latest = plant([*line, *extinct], most=5)
    assert [leaf.row.id for leaf in latest] == [15, 16, 17, 18, 19]
    assert latest[0].parent is None


def test_the_tree_marks_fine_tuning_and_the_best() -> None:
    rows = [row(0, 0), row(1, 1, (0,), operator="finetune"), row(2, 1, (0,), score=math.nan)]
    text = figures.draw_tree(plant(rows), best=1)
    root = ET.fromstring(text)
    assert "3 births, 1 of them by fine-tuning" in str(root.get("aria-label"))
    words = "".join(root.itertext())
    assert "fine-tuned" in words
    assert "the best" in words
    assert "var(--heat-1)" in text


def test_a_clause_wins_if_those_who_have_it_are_left() -> None:
    rows = [
        *(row(i, 0, (), "eat. run." if i < 2 else "eat. hide.") for i in range(4)),
        row(0, 1, (), "eat. run."), row(4, 1, (1, 2), "eat. hide."),
    ]  # fmt: skip
    verdict = judge(rows, most=5)
    (won,), (lost,) = verdict.won, verdict.lost
    assert (won.clause, won.among_all, won.contested) == ("run.", (0.5, 0.5), 1)
    assert won.among_left == (pytest.approx(2 / 3),)  # 0 lives on; 1 and 2 have a child
    assert won.gain == pytest.approx(1 / 6)
    assert (lost.clause, lost.gain) == ("hide.", pytest.approx(-1 / 6))


def test_nothing_won_where_all_or_nobody_known_were_left() -> None:
    alike = [row(i, generation, (), "eat." if i else "run.") for generation in range(2) for i in range(2)]
    strangers = [row(0, 0, (), "eat."), row(1, 0, (), "run."), row(2, 1, (77,), "eat.")]
    for rows in (alike, strangers, alike[:2], []):
        assert judge(rows, 3) == judge([], 3)


def test_clauses_are_split_at_their_full_stops() -> None:
    assert clauses("eat when low. rest. ") == ["eat when low.", "rest."]
    assert clauses("") == []


def test_bands_are_quantiles_of_what_is_known() -> None:
    bands = spread([(0, 1.0), (0, 3.0), (0, math.nan), (0, 2.0), (2, 5.0), (3, math.nan)])
    assert bands[0] == pytest.approx((1.2, 1.5, 2.5, 2.8))
    assert bands == {0: bands[0], 2: (5.0,) * 4}
