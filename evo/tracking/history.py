"""What a tracker remembers of a run: how its scores spread, and everybody who ever lived.

Owns what is kept from one generation to the next, for charts and tables that show them all. Does not own how those
look. A run that goes on is read back from its folder, so that its charts begin where it began.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.records import GenerationRecord, GenomeRow
from evo.report.ancestry import Ancestor
from evo.tracking.curves import quantiles


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far apart the members of one generation are."""

    generation: int
    """From 0."""
    decisions: int
    """Taken since the run began."""
    scores: tuple[float, ...]
    """One for each of `evo.tracking.curves.QUANTILES`; NaN where nobody has a score."""


class History:
    """All generations so far. Memory grows with the number of genomes: about a kilobyte for each."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.spreads: list[Spread] = []
        self._born: dict[int, int] = {}
        self._latest: dict[int, GenomeRow] = {}

    @classmethod
    def read(cls, folder: Path, over: int) -> "History":
        """Return what the tables of a run say of the generations below `over`.

        Raises:
            OutputError: A table cannot be read.
        """
        from evo.report.reading import read_generations, read_genomes  # reads Parquet, which no configuration needs

        history = cls()
        members: dict[int, list[GenomeRow]] = {}
        for row in read_genomes(folder):
            members.setdefault(row.generation, []).append(row)
        for record in read_generations(folder):
            if record.generation < over:
                history.add(record, members.get(record.generation, []))
        return history

    def add(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        """Take one generation; they come in order."""
        spread = Spread(generation=record.generation, decisions=record.decisions, scores=quantiles(rows))
        self.spreads.append(spread)
        for row in rows:
            self._born.setdefault(row.id, row.generation)
            self._latest[row.id] = row

    def latest(self, identity: int) -> GenomeRow | None:
        """Return a genome as it stood after the last generation that it lived in; None if it never lived."""
        return self._latest.get(identity)

    @property
    def rows(self) -> tuple[GenomeRow, ...]:
        """Everybody who ever lived, each as it stood after the last generation that it lived in."""
        return tuple(self._latest.values())

    def everybody(self, most: int) -> list[Ancestor]:
        """Return who ever lived, by id; of more than `most`, the ancestors of the last generation go first."""
        last = max((row.generation for row in self._latest.values()), default=0)
        chosen = dict.fromkeys(self._ancestors(row.id for row in self._latest.values() if row.generation == last))
        chosen |= dict.fromkeys(sorted(self._latest, reverse=True))
        return [Ancestor(self._born[one], self._latest[one]) for one in sorted(list(chosen)[:most])]

    def _ancestors(self, living: Iterable[int]) -> list[int]:
        """Return the living and all whom they descend from, the latest births first."""
        found: set[int] = set()
        waiting = list(living)
        while waiting:
            one = waiting.pop()
            if one in self._latest and one not in found:
                found.add(one)
                waiting += self._latest[one].parents
        return sorted(found, reverse=True)
