"""The hall of fame: whose adapters are worth keeping elsewhere.

Owns who is in it. Adapters are read where the run has put them (`adapters/<sha256>/`), never copied here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evo.records import GenomeRow
from evo.report.ancestry import by_fitness

FAMOUS = 5
"""Genomes in it, at most."""


@dataclass(frozen=True, kw_only=True)
class Famous:
    """One genome of it."""

    row: GenomeRow
    """As it stands."""
    files: tuple[Path, ...]
    """Of its adapter, in PEFT's format."""


def hall_of_fame(rows: Iterable[GenomeRow], run: Path, first: GenomeRow | None = None) -> tuple[Famous, ...]:
    """Return the fittest, each with another adapter, of those whose adapters are on disk.

    Args:
        rows: everybody who ever lived, each genome once, as it stood last.
        run: outputs/<run>/.
        first: who goes before them all, such as the run's own choice.
    """
    found: dict[str, Famous] = {}
    for row in ([first] if first else []) + sorted(rows, key=by_fitness):
        folder = run.resolve() / "adapters" / row.adapter
        if row.adapter not in found and folder.is_dir() and len(found) < FAMOUS:
            found[row.adapter] = Famous(row=row, files=tuple(sorted(folder.iterdir())))
    return tuple(found.values())


def read_best(run: Path) -> int | None:
    """Return the genome that a finished run names as its best; None if it does not say."""
    try:
        return int(json.loads((run / "best.json").read_text(encoding="utf-8"))["genome"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def metadata_of(row: GenomeRow) -> dict[str, object]:
    """Return what an adapter's own files do not say of it."""
    return {
        "genome": row.id,
        "parents": list(row.parents),
        "operator": row.operator,
        "strategy": row.strategy,
        "score": row.score,
        "fitness": row.fitness,
        "count": row.count,
        "sha256": row.adapter,
    }
