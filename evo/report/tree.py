"""Lays the births of a run out as trees of first parents, founders on the left and kin side by side.

Owns where each genome stands, and which are left out of a large run. Does not own how it is drawn (figures.py). Second
parents are in phylogeny.csv; a tree has no place for them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evo.records import GenomeRow

MAX_GENOMES = 800
"""Drawn; of more births only those that the last generation descends from, and of these the latest."""


@dataclass(frozen=True)
class Leaf:
    """One genome in its place."""

    row: GenomeRow
    """As it stood after the last generation that it lived in, so with its fullest count."""
    born: int
    """The first generation that it lived in."""
    height: float
    """Its place across the generations; kin are near each other."""
    parent: int | None
    """Place of its first parent among the leaves; None for a founder, or where the parent is left out."""


def plant(rows: Sequence[GenomeRow], most: int = MAX_GENOMES) -> list[Leaf]:
    """Return the genomes to draw, parents before children.

    Args:
        rows: every genome in every generation that it lived in, in order.
        most: genomes to draw.
    """
    latest = {row.id: row for row in rows}
    born = {row.id: row.generation for row in reversed(rows)}
    kept = sorted(_shown(latest, most), key=lambda one: (born[one], one))
    place = {one: i for i, one in enumerate(kept)}
    parents = [next((place[p] for p in latest[one].parents[:1] if p in place and p != one), None) for one in kept]
    heights = _heights(parents)
    return [
        Leaf(latest[one], born[one], height, parent) for one, height, parent in zip(kept, heights, parents, strict=True)
    ]


def _shown(latest: dict[int, GenomeRow], most: int) -> Iterable[int]:
    """Return who is drawn."""
    if len(latest) <= most:
        return latest
    last = max(row.generation for row in latest.values())
    kept: set[int] = set()
    waiting = [one for one, row in latest.items() if row.generation == last]
    while waiting:
        one = waiting.pop()
        if one in latest and one not in kept:
            kept.add(one)
            waiting += latest[one].parents[:1]
    return sorted(kept)[-most:]


def _heights(parents: Sequence[int | None]) -> list[float]:
    """Return each genome's place: those without children are counted, a parent is in the middle of its children."""
    children: list[list[int]] = [[] for _ in parents]
    for child, parent in enumerate(parents):
        if parent is not None:
            children[parent].append(child)
    heights, counted = [0.0] * len(parents), 0
    stack = [(root, False) for root in reversed(range(len(parents))) if parents[root] is None]
    while stack:
        one, told = stack.pop()
        if told:
            heights[one] = sum(heights[child] for child in children[one]) / len(children[one])
        elif children[one]:
            stack += [(one, True), *((child, False) for child in reversed(children[one]))]
        else:
            heights[one], counted = float(counted), counted + 1
    return heights
