"""Who descends from whom: births and deaths of a run, and the file that artificial-life tools read.

Owns `Lineage` and phylogeny.csv in the ALife phylogeny standard
(https://alife-data-standards.github.io/alife-data-standards/phylogeny.html), with three columns of ours. Tuned children
are births like any other, with operator `finetune`, so text and weights share one tree. To record more of a genome, add
a field to `Birth` and a column.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.genome import Genome
from fitness.environments.grammar import Grammar
from fitness.errors import OutputError
from fitness.files import write_atomically

COLUMNS = ("id", "ancestor_list", "origin_time", "destruction_time", "operator", "strategy", "adapter")
"""Header of phylogeny.csv; the first four are the standard's."""


@dataclass(frozen=True, kw_only=True)
class Birth:
    """One genome's entry.

    Example: `Birth(id=9, parents=(2, 4), time=3, operator="crossover+mutation", strategy="eat when low.",
        adapter="ab12...")`
    """

    id: int
    """Unique in the run."""
    parents: tuple[int, ...]
    """Ids; empty for a founder."""
    time: int
    """Generation in which it was first tested."""
    operator: str
    """What made it."""
    strategy: str
    """Text."""
    adapter: str
    """SHA-256 of its adapter."""

    @classmethod
    def of(cls, genome: Genome, grammar: Grammar, time: int) -> "Birth":
        """Return the entry of `genome`, first tested in generation `time`."""
        return cls(
            id=genome.id,
            parents=genome.parents,
            time=time,
            operator=genome.operator,
            strategy=grammar.render(genome.genes),
            adapter=genome.adapter.digest(),
        )


class Lineage:
    """Births and deaths so far.

    Example: `lineage.observe(generation, algorithm.ask(rng), grammar)` once a generation, then `lineage.write(folder /
        "phylogeny.csv")`.
    """

    def __init__(self) -> None:
        """Start with nobody."""
        self._births: dict[int, Birth] = {}
        self._deaths: dict[int, int] = {}

    @classmethod
    def read(cls, path: Path, over: int) -> "Lineage":
        """Return the lineage that `write` left, as it was when the generations before `over` had lived.

        Raises:
            OutputError: the file is missing or no phylogeny.
        """
        lineage = cls()
        try:
            rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
            if tuple(rows[0]) != COLUMNS:
                raise ValueError(f"the columns {rows[0]}")
            for row in rows[1:]:
                birth, death = _entry(row)
                if birth.time < over:
                    lineage.record([birth])
                    if death is not None and death < over:
                        lineage._deaths[birth.id] = death
        except (OSError, ValueError, IndexError) as error:
            raise OutputError(f"{path}: expected a phylogeny that can be read, got {error}") from error
        return lineage

    def observe(self, generation: int, genomes: Sequence[Genome], grammar: Grammar) -> None:
        """Take the whole population of one generation: who is new was born, who is no longer there has died.

        Raises:
            ValueError: see `record`.
        """
        present = {genome.id for genome in genomes}
        self.record(Birth.of(g, grammar, generation) for g in genomes if g.id not in self._births)
        for id_ in self.living():
            if id_ not in present:
                self._deaths[id_] = generation

    def record(self, births: Iterable[Birth]) -> None:
        """Add births, parents before children.

        Raises:
            ValueError: an id is there already, or a parent is not.
        """
        for birth in births:
            unknown = [parent for parent in birth.parents if parent not in self._births]
            if birth.id in self._births or unknown:
                problem = f"unknown parents {unknown}" if unknown else "an id that is taken"
                raise ValueError(f"births: expected a new id and known parents, got {problem} for genome {birth.id}")
            self._births[birth.id] = birth

    def living(self) -> list[int]:
        """Return the ids of those who have not died, by birth."""
        return [id_ for id_ in self._births if id_ not in self._deaths]

    def __len__(self) -> int:
        """Return the number of births."""
        return len(self._births)

    def write(self, path: Path) -> None:
        """Write phylogeny.csv, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(self._row(birth) for birth in self._births.values())
        write_atomically(path, text.getvalue().encode())

    def _row(self, birth: Birth) -> tuple[object, ...]:
        """Return one line; the standard writes no ancestor as [none] and no death as inf."""
        ancestors = ",".join(map(str, birth.parents)) or "none"
        death = self._deaths.get(birth.id, "inf")
        return (birth.id, f"[{ancestors}]", birth.time, death, birth.operator, birth.strategy, birth.adapter)


def _entry(row: list[str]) -> tuple[Birth, int | None]:
    """Return what one line says: a birth, and when it died."""
    id_, ancestors, time, death, operator, strategy, adapter = row
    inner = ancestors.strip("[]")
    birth = Birth(
        id=int(id_),
        parents=() if inner == "none" else tuple(map(int, inner.split(","))),
        time=int(time),
        operator=operator,
        strategy=strategy,
        adapter=adapter,
    )
    return birth, None if death == "inf" else int(death)
