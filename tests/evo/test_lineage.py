"""The lineage file: the ALife standard's columns, who descends from whom, and nothing half-written."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.genome import Genome
from evo.lineage import COLUMNS, Birth, Lineage
from fitness.errors import OutputError
from tests.evo.samples import GRAMMAR, STEPS, genome


def child(id_: int, parents: tuple[int, ...], operator: str) -> Genome:
    base = genome(id_)
    return Genome(
        id=id_, genes=base.genes, adapter=base.adapter, step_sizes=STEPS, parents=parents, operator=operator, born=1
    )


def two_generations() -> Lineage:
    lineage = Lineage()
    lineage.observe(0, [genome(0), genome(1), genome(2)], GRAMMAR)
    lineage.observe(1, second_generation(), GRAMMAR)
    return lineage


def second_generation() -> list[Genome]:
    return [genome(1), child(3, (1,), "finetune"), child(4, (2, 1), "crossover+mutation")]


def test_file_by_hand(tmp_path: Path) -> None:
    two_generations().write(tmp_path / "phylogeny.csv")
    with (tmp_path / "phylogeny.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [[row[name] for name in COLUMNS[:5]] for row in rows] == [
        ["0", "[none]", "0", "1", "founder"],
        ["1", "[none]", "0", "inf", "founder"],
        ["2", "[none]", "0", "1", "founder"],
        ["3", "[1]", "1", "inf", "finetune"],
        ["4", "[2,1]", "1", "inf", "crossover+mutation"],
    ]
    for i, row in enumerate(rows):
        assert GRAMMAR.parse(row["strategy"]) == genome(i).genes
        assert row["adapter"] == genome(i).adapter.digest()
    assert [path.name for path in tmp_path.iterdir()] == ["phylogeny.csv"]


def test_every_ancestor_is_there_and_older(tmp_path: Path) -> None:
    two_generations().write(tmp_path / "phylogeny.csv")
    with (tmp_path / "phylogeny.csv").open(newline="") as file:
        origin: dict[int, int] = {}
        for row in csv.DictReader(file):
            ancestors = [] if row["ancestor_list"] == "[none]" else json.loads(row["ancestor_list"])
            assert all(origin[ancestor] < int(row["origin_time"]) for ancestor in ancestors)
            origin[int(row["id"])] = int(row["origin_time"])
            assert float(row["destruction_time"]) >= int(row["origin_time"])


def test_the_living_are_the_last_population() -> None:
    lineage = two_generations()
    assert (lineage.living(), len(lineage)) == ([1, 3, 4], 5)


@pytest.mark.parametrize("over", [1, 2])
def test_read_again_it_goes_on_as_if_the_later_generations_had_not_been(tmp_path: Path, over: int) -> None:
    path = tmp_path / "phylogeny.csv"
    two_generations().write(path)
    read = Lineage.read(path, over)
    if over == 1:
        assert (read.living(), len(read)) == ([0, 1, 2], 3)
        read.observe(1, second_generation(), GRAMMAR)
    whole = two_generations()
    for lineage, name in ((whole, "one"), (read, "two")):
        lineage.observe(2, [genome(1)], GRAMMAR)
        lineage.write(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("text", ["", "id,name\n1,x\n", "\x00", ",".join(COLUMNS) + "\n1,2\n"])
def test_what_is_no_phylogeny_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "phylogeny.csv").write_text(text)
    with pytest.raises(OutputError, match=r"phylogeny.csv: expected a phylogeny that can be read, got "):
        Lineage.read(tmp_path / "phylogeny.csv", 1)


def birth(id_: int, parents: tuple[int, ...] = ()) -> Birth:
    return Birth(id=id_, parents=parents, time=0, operator="founder", strategy="rest.", adapter="00")


def test_births_that_make_no_tree_are_refused() -> None:
    lineage = Lineage()
    lineage.record([birth(0)])
    with pytest.raises(ValueError, match="an id that is taken for genome 0"):
        lineage.record([birth(0)])
    with pytest.raises(ValueError, match=r"unknown parents \[7\] for genome 1"):
        lineage.record([birth(1, (0, 7))])


def test_a_parent_has_the_lower_id() -> None:
    lineage = Lineage()
    lineage.record([birth(5)])
    with pytest.raises(ValueError, match=r"unknown parents \[5\] for genome 4"):
        lineage.record([birth(4, (5,))])


@pytest.mark.parametrize("extinct", [True, False])
def test_tree_by_hand(tmp_path: Path, extinct: bool) -> None:
    two_generations().write_tree(tmp_path / "tree.csv", extinct=extinct)
    assert (tmp_path / "tree.csv").read_text().splitlines() == [
        "id,ancestor_list,origin_time,destruction_time,taxon_label",
        *(["0,[none],0,1,0"] if extinct else []),
        "1,[none],0,inf,1",
        "2,[none],0,1,2",
        "3,[1],1,inf,3",
        "4,[2],1,inf,4",
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4))
@settings(max_examples=50, deadline=None)
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "phylogeny.csv"
    lineage = Lineage()
    lineage.record(
        Birth(id=i, parents=(), time=0, operator=text, strategy=text[::-1], adapter="") for i, text in enumerate(texts)
    )
    lineage.write(path)
    assert dict(Lineage.read(path, 1).births) == dict(lineage.births)
