"""Shows a run in the terminal: a live panel while it goes on, one plain line per generation if nobody watches.

Owns what is printed during a run and its last lines. Does not own any number: all come in the records. To show one more
thing about a generation, add it to `_describe`; both displays use it.
"""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from evo.records import GenerationRecord, GenomeRow, HeldOut, RunFinished, RunStarted
from evo.tracking.base import Tracker

_RECENT = 5
"""Generations whose mean duration predicts the rest."""


class ConsoleTracker(Tracker):
    """Prints to a Rich console; text that comes from the run is never read as markup."""

    name = "console"

    def __init__(self, *, console: Console | None = None) -> None:
        """Print to `console`, by default standard output."""
        self._console = console or Console()
        self._folder = Path()
        self._clock = _Clock()
        self._progress = Progress(
            TextColumn("generation {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._live = Live(console=self._console, refresh_per_second=2, transient=True)
        self._best: GenomeRow | None = None

    def on_start(self, started: RunStarted) -> None:
        """Print what begins and, in a terminal, put up the live panel."""
        self._folder = started.folder
        self._task = self._progress.add_task("run", total=started.generations, completed=started.over)
        self._print(
            f"{started.run}: {started.population} agents in {started.environment}, {started.generations} generations, "
            f"seed {started.seed}"
        )
        if started.over:
            self._print(f"goes on after generation {started.over}/{started.generations}")
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live.update(self._progress)
            self._live.start()

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        """Bring the live panel up to date, or print one line."""
        self._clock.add(record)
        self._best = max(rows, key=_fitness, default=self._best)
        facts = _describe(record, self._clock)
        if not self._live.is_started:
            self._print(", ".join(f"{name} {value}" for name, value in facts))
            return
        self._progress.update(self._task, completed=record.generation + 1)
        self._live.update(Group(self._progress, _panel(facts[1:], self._best)), refresh=True)

    def on_finish(self, finished: RunFinished) -> None:
        """Take down the live panel; print the table, the best strategy and where to look further."""
        self._live.stop()
        self._console.print(_results(finished.summary.heldout))
        if self._best is not None:
            self._print(f"best strategy (genome {self._best.id}): {self._best.strategy}")
        for line in _directions(self._folder):
            self._print(line)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _print(self, line: str) -> None:
        # Soft wrap and no markup: a line is one line in a log, and a strategy is never taken for a style.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Clock:
    """Speeds and times to go, from the records alone."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._decisions: int | None = None
        self.rate = math.nan
        """Decisions per second of the last generation; NaN right after a run goes on from a checkpoint."""

    def add(self, record: GenerationRecord) -> None:
        before = 0 if record.generation == 0 else self._decisions
        known = before is not None and record.seconds > 0
        self.rate = (record.decisions - (before or 0)) / record.seconds if known else math.nan
        self._decisions = record.decisions
        self._seconds = [*self._seconds[1 - _RECENT :], record.seconds]

    def seconds_to_go(self, record: GenerationRecord) -> float:
        left = max(0, record.generations - record.generation - 1)
        return left * sum(self._seconds) / len(self._seconds)


def _fitness(row: GenomeRow) -> float:
    return row.fitness if math.isfinite(row.fitness) else -math.inf


def _describe(record: GenerationRecord, clock: _Clock) -> list[tuple[str, str]]:
    """Return names and values of what is said about a generation; the generation itself comes first."""
    return [
        ("generation", f"{record.generation + 1}/{record.generations}"),
        ("score", f"best {record.best:.3f} median {record.median:.3f} mean {record.mean:.3f}"),
        ("lifespan", f"best {record.best_lifespan:.1f} mean {record.mean_lifespan:.1f}"),
        ("speed", "-" if math.isnan(clock.rate) else f"{clock.rate:,.0f} decisions/s"),
        ("ETA", _duration(clock.seconds_to_go(record))),
        ("ends", _ends(record.deaths)),
        *([("unreadable", f"{record.unreadable} answers")] if record.unreadable else []),
        ("tuned", f"{record.accepted} kept {record.refused} refused"),
    ]


def _ends(deaths: Sequence[tuple[str, int]]) -> str:
    ordered = sorted((item for item in deaths if item[1]), key=lambda item: (-item[1], item[0]))
    return " ".join(f"{cause} {count:,}" for cause, count in ordered) or "none"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _panel(facts: Sequence[tuple[str, str]], best: GenomeRow | None) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(Text(name, style="dim"), Text(value))
    if best is not None:
        table.add_row(Text("best", style="dim"), Text(best.strategy))
    return table


def _results(heldout: Sequence[tuple[str, HeldOut]]) -> Table:
    table = Table(title="Held-out seeds", title_justify="left")
    table.add_column("policy")
    for name in ("score", "95% interval", "mean lifespan", "episodes"):
        table.add_column(name, justify="right")
    for policy, result in heldout:
        low, high = result.ci
        cells = (f"{result.score:.3f}", f"{low:.3f} to {high:.3f}", f"{result.lifespan:.1f}", f"{result.episodes:,}")
        style = "bold" if policy == "evolved" else ""
        table.add_row(*(Text(cell, style=style) for cell in (policy, *cells)))
    return table


def _directions(folder: Path) -> list[str]:
    """Return the last lines: where the run lies and what can be done with it."""
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    report = f"forager report {shlex.quote(str(folder))}"
    sync = [f"wandb sync {shlex.quote(str(run))}" for run in offline]
    return [f"run folder: {folder}", "look further:", *(f"  {command}" for command in (report, *sync))]
