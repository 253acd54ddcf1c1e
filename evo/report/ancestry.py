"""Follows the best genome back to its founder.

Owns the choice of one line of descent out of a graph of parents. Does not own the graph itself (phylogeny.csv holds
all of it) or how the line is shown. To follow another line, add a function like `trace`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evo.records import GenomeRow


@dataclass(frozen=True)
class Ancestor:
    """One genome of a line of descent."""

    born: int
    """The first generation that it lived in."""
    last: GenomeRow
    """The genome as it stood after the last generation that it lived in, so with its fullest count."""


def by_fitness(row: GenomeRow) -> tuple[float, int]:
    """Return the key that sorts genomes, the fittest first and those never tested last."""
    return (-row.fitness if math.isfinite(row.fitness) else math.inf, row.id)


def rank(rows: Iterable[GenomeRow]) -> list[GenomeRow]:
    """Return the genomes of the last generation among `rows`, best fitness first; those never tested come last."""
    listed = list(rows)
    last = max((row.generation for row in listed), default=0)
    return sorted((row for row in listed if row.generation == last), key=by_fitness)


def trace(rows: Sequence[GenomeRow], genome: int) -> list[Ancestor]:
    """Return the line of first parents that ends in `genome`, founder first.

    The first parent is the one that most was taken from. A line ends early where a parent is not in the rows.
    """
    born: dict[int, int] = {}
    latest: dict[int, GenomeRow] = {}
    for row in rows:
        born[row.id] = min(row.generation, born.get(row.id, row.generation))
        if row.id not in latest or row.generation >= latest[row.id].generation:
            latest[row.id] = row
    line: list[Ancestor] = []
    seen: set[int] = set()
    current: int | None = genome
    while current is not None and current in latest and current not in seen:
        seen.add(current)
        row = latest[current]
        line.append(Ancestor(born[current], row))
        current = row.parents[0] if row.parents else None
    return line[::-1]
