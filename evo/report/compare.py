"""Runs side by side: what `forager compare RUN RUN ...` prints.

Owns a Markdown table of held-out scores, one line per run, and the list of settings in which the runs differ. Reads
summary.json, manifest.json and config.yaml only.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evo.records import HeldOut, Seconds, Summary
from evo.report.reading import read_seconds, read_settings, read_summary
from fitness.errors import OutputError


def compare(folders: Sequence[Path]) -> str:
    """Return a Markdown table of the runs' held-out scores, in the order given, and what differs between the runs.

    Raises:
        OutputError: a folder has no summary.json, or one that cannot be read.
    """
    lines = [
        "| run | seed | frozen | evolved | evolved lifespan | decisions | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_line(_read(folder), read_seconds(folder)) for folder in folders]
    differing = _differences([_settings(folder) for folder in folders])
    if differing:
        lines += ["", "The runs differ in:", *(f"- {name}: {', '.join(values)}" for name, values in differing.items())]
    return "\n".join(lines)


def _settings(folder: Path) -> dict[str, str]:
    """Return a run's configuration as dotted fields; empty if it is not there."""
    settings = read_settings(folder)
    return dict(_flat(settings, "")) if settings else {}


def _flat(node: object, field: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted field, value as text) of everything in `node`."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _flat(value, f"{field}.{key}" if field else str(key))
    else:
        yield field, "null" if node is None else str(node)


def _differences(settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the fields, but for the seed, that have not the same value in all runs, each run's value in order.

    Where one run has another component than the others, its own fields go without saying.
    """
    fields = dict.fromkeys(field for one in settings for field in one if field != "seed")
    values = {field: [one.get(field, "not set") for one in settings] for field in fields}
    differing = {field: given for field, given in values.items() if len(set(given)) > 1}
    replaced = tuple(field.removesuffix("_target_") for field in differing if field.endswith("._target_"))
    return {
        field: given
        for field, given in differing.items()
        if not any(field.startswith(part) and field != f"{part}_target_" for part in replaced)
    }


def _read(folder: Path) -> Summary:
    """Return a run's summary."""
    summary = read_summary(folder)
    if summary is None:
        raise OutputError(f"run: expected the folder of a finished run with a summary.json, given {str(folder)!r}")
    missing = {"frozen", "evolved"} - dict(summary.heldout).keys()
    if missing:
        raise OutputError(f"{folder}: summary.json: expected rows of frozen and evolved, got none of {min(missing)}")
    return summary


def _line(summary: Summary, seconds: Seconds | None) -> str:
    """Return one run's line."""
    heldout, budget = dict(summary.heldout), summary.budget
    took = f"{seconds.wall:.0f}" if seconds else "-"
    cells = [summary.run, str(summary.seed), _score(heldout["frozen"]), _score(heldout["evolved"])]
    cells += [f"{heldout['evolved'].lifespan:.1f}", f"{budget.decisions:,}", took]
    return f"| {' | '.join(cells)} |"


def _score(row: HeldOut) -> str:
    """Return a score with its interval."""
    return f"{row.score:.2f} ({row.ci[0]:.2f} to {row.ci[1]:.2f})"
