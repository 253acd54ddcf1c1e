"""The line of descent, worked by hand."""

from dataclasses import replace

from evo.report.ancestry import rank, trace
from tests.evo import fake_run

BASE = fake_run.genomes(0)[0]


def _row(generation: int, identity: int, parents: tuple[int, ...] = (), fitness: float = 1.0):  # type: ignore[no-untyped-def]
    return replace(BASE, generation=generation, id=identity, parents=parents, fitness=fitness)


def test_the_line_follows_first_parents_from_the_founder() -> None:
    rows = [_row(0, 0), _row(0, 1), _row(1, 1), _row(1, 2, (1, 0)), _row(2, 2, (1, 0), 5.0), _row(2, 3, (2,))]
    line = trace(rows, 3)
    assert [(step.last.id, step.born, step.last.generation) for step in line] == [(1, 0, 1), (2, 1, 2), (3, 2, 2)]
    assert line[1].last.fitness == 5.0


def test_a_line_ends_where_a_parent_is_not_known() -> None:
    assert [step.last.id for step in trace([_row(4, 9, (7,))], 9)] == [9]
    assert trace([], 9) == []


def test_a_broken_table_cannot_make_an_endless_line() -> None:
    assert [step.last.id for step in trace([_row(0, 1, (2,)), _row(0, 2, (1,))], 1)] == [2, 1]


def test_rank_looks_at_the_last_generation_and_puts_the_untested_last() -> None:
    rows = [_row(0, 0, (), 99.0), _row(1, 1, (), float("nan")), _row(1, 2, (), 3.0), _row(1, 3, (), 4.0)]
    assert [row.id for row in rank(rows)] == [3, 2, 1]
    assert rank([]) == []
