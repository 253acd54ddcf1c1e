"""Who descends from whom: births and deaths of a run, and the file that artificial-life tools read.

Owns `Lineage` and phylogeny.csv in the ALife phylogeny standard
(https://alife-data-standards.github.io/alife-data-standards/phylogeny.html), with three columns of ours. Tuned children
are births like any other, with operator `finetune`, so text and weights share one tree. What descent says of a
population is in evo/pedigree.py. To record more of a genome, add a field to `Birth` and a column.

The file is written anew every generation: a death changes a line that may stand anywhere, and a reader must never see
half a file. Lines are kept as bytes, so a generation costs one copy of the file and its way to the disk. Tools for
trees (phylotrackpy, or Newick through alifedata-phyloinformatics-convert) refuse a second parent, and some a line break
in a text: `write_tree` is for them.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from evo.genome import Genome
from fitness.environments.grammar import Grammar
from fitness.errors import OutputError
from fitness.files import write_atomically

COLUMNS = ("id", "ancestor_list", "origin_time", "destruction_time", "operator", "strategy", "adapter")
"""Header of phylogeny.csv; the first four are the standard's."""
_HEADER = f"{','.join(COLUMNS)}\n".encode()
_TREE_HEADER = ",".join((*COLUMNS[:4], "taxon_label")) + "\n"
_SPECIAL = re.compile('[,"\r\n]')
"""Text with one of these is quoted."""


@dataclass(frozen=True, kw_only=True, slots=True)
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
        self._living: dict[int, tuple[bytes, bytes]] = {}  # by birth: the line before and after the death
        self._lines: dict[int, bytes] = {}  # of the file

    @property
    def births(self) -> Mapping[int, Birth]:
        """Id -> birth, parents before children."""
        return MappingProxyType(self._births)

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
                        lineage.bury(birth.id, death)
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
        for id_ in [id_ for id_ in present if id_ in self._deaths]:  # kept out of sight, and back
            del self._deaths[id_]
            self._living[id_] = _halves(self._births[id_])
            self._lines[id_] = b"inf".join(self._living[id_])
        for id_ in [id_ for id_ in self._living if id_ not in present]:
            self.bury(id_, generation)

    def record(self, births: Iterable[Birth]) -> None:
        """Add births, parents before children.

        Raises:
            ValueError: an id is there already, or a parent is not, or has a higher id than the child: ids are counted.
        """
        for birth in births:
            unknown = [p for p in birth.parents if p not in self._births or p > birth.id]
            if birth.id in self._births or unknown:
                problem = f"unknown parents {unknown}" if unknown else "an id that is taken"
                raise ValueError(f"births: expected a new id and known parents, got {problem} for genome {birth.id}")
            self._births[birth.id] = birth
            self._living[birth.id] = _halves(birth)
            self._lines[birth.id] = b"inf".join(self._living[birth.id])

    def living(self) -> list[int]:
        """Return the ids of those who have not died, by birth."""
        return list(self._living)

    def __len__(self) -> int:
        """Return the number of births."""
        return len(self._births)

    def write(self, path: Path) -> None:
        """Write phylogeny.csv, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        write_atomically(path, b"".join([_HEADER, *self._lines.values()]))

    def write_tree(self, path: Path, *, extinct: bool = True) -> None:
        """Write the tree of first parents, who are those that most was taken from, in the standard's columns alone.

        Founders are roots, so there are as many trees. A name for the leaves of Newick is in `taxon_label`.

        Args:
            path: of the file.
            extinct: whether to write branches that nobody living is on; phylotrackpy counts their ends as alive.

        Raises:
            OutputError: the file cannot be written.
        """
        mothers = {id_: birth.parents[:1] for id_, birth in self._births.items()}
        kept = mothers.keys() if extinct else _upwards(mothers, self._living)
        rows = (
            f"{id_},[{mothers[id_][0] if mothers[id_] else 'none'}],{self._births[id_].time},"
            f"{self._deaths.get(id_, 'inf')},{id_}\n"
            for id_ in mothers
            if id_ in kept
        )
        write_atomically(path, "".join([_TREE_HEADER, *rows]).encode())

    def bury(self, id_: int, generation: int) -> None:
        """Write down that one of the living died in `generation`."""
        self._deaths[id_] = generation
        self._lines[id_] = str(generation).encode().join(self._living.pop(id_))


def _upwards(mothers: Mapping[int, tuple[int, ...]], living: Iterable[int]) -> set[int]:
    """Return the living and all that they descend from."""
    found: set[int] = set()
    for id_ in living:
        line: tuple[int, ...] = (id_,)
        while line and line[0] not in found:
            found.add(line[0])
            line = mothers[line[0]]
    return found


def _halves(birth: Birth) -> tuple[bytes, bytes]:
    """Return a line before and after its death; the standard writes no ancestor as [none] and no death as inf."""
    ancestors = ",".join(map(str, birth.parents)) or "none"
    cells = ",".join(map(_cell, (birth.operator, birth.strategy, birth.adapter)))
    return f"{birth.id},{_cell(f'[{ancestors}]')},{birth.time},".encode(), f",{cells}\n".encode()


def _cell(text: str) -> str:
    """Return a text as CSV has it."""
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


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
