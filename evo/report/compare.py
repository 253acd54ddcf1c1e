"""Runs side by side: what `forager compare RUN RUN ...` prints.

Owns a Markdown table of held-out scores, one line per run. Reads summary.json only.
"""

from collections.abc import Sequence
from pathlib import Path

from evo.records import HeldOut, Summary
from fitness.errors import OutputError


def compare(folders: Sequence[Path]) -> str:
    """Return a Markdown table of the runs' held-out scores, in the order given.

    Raises:
        OutputError: a folder has no summary.json, or one that cannot be read.
    """
    lines = [
        "| run | seed | frozen | evolved | evolved lifespan | decisions | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(_read(folder)) for folder in folders)])


def _read(folder: Path) -> Summary:
    """Return a run's summary."""
    path = folder / "summary.json"
    if not path.is_file():
        raise OutputError(f"run: expected the folder of a finished run with a summary.json, given {str(folder)!r}")
    return Summary.from_json(path.read_text(encoding="utf-8"))


def _line(summary: Summary) -> str:
    """Return one run's line."""
    heldout, budget = dict(summary.heldout), summary.budget
    cells = [summary.run, str(summary.seed), _score(heldout["frozen"]), _score(heldout["evolved"])]
    cells += [f"{heldout['evolved'].lifespan:.1f}", f"{budget.decisions:,}", f"{budget.wall_seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def _score(row: HeldOut) -> str:
    """Return a score with its interval."""
    return f"{row.score:.2f} ({row.ci[0]:.2f} to {row.ci[1]:.2f})"
