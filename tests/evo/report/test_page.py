"""The page is whole, stands alone, escapes what it shows, and exists for every kind of run."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from evo.report import figures
from evo.report.page import write_report
from evo.report.reading import read_run
from fitness.errors import OutputError
from fitness.telemetry import GrowingTable, write_episodes
from tests.evo import fake_run

VOID = {"meta", "br", "link", "input"}


class _Tags(HTMLParser):
    """Collects ids, references and text; fails on a tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert name != "src"
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and value != "data:,":
                self.references.add(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _read(page: Path) -> _Tags:
    tags = _Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    assert not tags.open
    return tags


def test_the_page_holds_the_result_and_needs_nothing_else(tmp_path: Path) -> None:
    page = write_report(fake_run.write_run(tmp_path, generations=12))
    assert page == tmp_path / "report.html"
    assert page.stat().st_size < 1_000_000
    text = page.read_text(encoding="utf-8")
    assert "://" not in text
    assert "<script" not in text
    tags = _read(page)
    assert len(tags.ids) == len(set(tags.ids))
    assert {reference[1:] for reference in tags.references} <= set(tags.ids)
    assert all(reference.startswith("#") for reference in tags.references)
    for told in ("0.684", "0.634 to 0.734", "75.0", "256", "12 of 12 generations", "72,000 decisions"):
        assert told in tags.text
    assert len(re.findall("<svg ", text)) == 10


def test_text_of_the_run_is_escaped(tmp_path: Path) -> None:
    fake_run.write_run(tmp_path)
    table = GrowingTable(tmp_path, "genomes", run=fake_run.RUN)
    hostile = replace(fake_run.genomes(0)[0], generation=3, fitness=999.0, strategy="eat <script>alert(1)</script>.")
    table.append(3, [hostile.row()])
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_new_clauses_are_marked_along_the_line(tmp_path: Path) -> None:
    fake_run.write_run(tmp_path, generations=1)
    parent = replace(fake_run.genomes(0)[0], strategy="eat berries. rest by night.")
    child = replace(
        parent, generation=1, id=99, parents=(parent.id,), operator="crossover", strategy="flee. rest by night."
    )
    table = GrowingTable(tmp_path, "genomes", run=fake_run.RUN)
    table.append(0, [parent.row()])
    table.append(1, [child.row()])
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<mark>flee.</mark> rest by night." in text
    assert "<mark>eat berries.</mark>" not in text


@pytest.mark.parametrize("generations", [0, 1, 2])
def test_a_run_that_was_cut_off_has_a_page(tmp_path: Path, generations: int) -> None:
    page = write_report(fake_run.write_run(tmp_path, generations, finished=False, finetuned=False))
    text = _read(page).text
    assert "This run has not come to its end" in text
    assert "Held-out result" not in text
    assert ("This run did not fine-tune" in text) == (generations > 0)


def test_a_long_run_still_has_a_small_page(tmp_path: Path) -> None:
    run = read_run(fake_run.write_run(tmp_path, generations=3))
    many = [replace(fake_run.record(generation % 50, 50), generation=generation) for generation in range(5000)]
    assert len(figures.draw_scores(many, {})) < 150_000
    assert len(figures.draw_deaths([*run.generations, *many])) < 150_000


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    fake_run.write_run(tmp_path)
    assert write_report(tmp_path).read_bytes() == write_report(tmp_path).read_bytes()


def test_figures_are_well_formed_and_say_what_they_show() -> None:
    records = [fake_run.record(generation, 6) for generation in range(6)]
    for svg in (figures.draw_deaths(records), figures.draw_finetuning(records)):
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert "by generation" in (root.get("aria-label") or "")
        assert "var(--ink)" in svg
        assert "#0000" not in svg


def test_a_cause_that_never_came_has_no_place_in_the_legend() -> None:
    words = "".join(ET.fromstring(figures.draw_deaths([fake_run.record(0), fake_run.record(1)])).itertext())
    assert "wolf" in words
    assert "failed" not in words


def test_a_cause_with_signs_of_mathematics_is_drawn_as_it_is() -> None:
    odd = replace(fake_run.record(0), deaths=(("$x_1$ <b>", 3), ("wolf", 2)))
    words = "".join(ET.fromstring(figures.draw_deaths([odd, odd])).itertext())
    assert "$x_1$ <b>" in words


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    run = read_run(fake_run.write_run(tmp_path, generations=2))
    assert run.generations == (fake_run.record(0, 2), fake_run.record(1, 2))
    first = fake_run.genomes(0)
    assert run.genomes == (*first, *fake_run.genomes(1, first))
    assert run.summary == fake_run.summary()
    assert run.config == fake_run.CONFIG


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    write_episodes(tmp_path, fake_run.source(0), fake_run.episodes(fake_run.genomes(0)))
    with pytest.raises(OutputError, match=r"run: expected the folder of a run \(with config.yaml in it\)"):
        write_report(tmp_path)
