"""Sends a run to Weights & Biases, or keeps it for later in the run's own folder.

Owns when what is logged, and whether it goes over the network. Does not own the names of curves (curves.py), groups and
arms (naming.py), who is in the hall of fame (fame.py), or threads (fanout.py). To log one more number of a generation,
add it to curves.py; one more thing about the end, to `_log_end`.

Curves are drawn over `generation`, never over W&B's own step: an offline run that is resumed begins that one anew.
Those named `by_decisions/` are drawn over `decisions`. What needs all generations (the chart with bands, the adapters
of the best) is logged after generations 1, 2, 4, 8 and so on, and at the end: no more often, so that a long run does
not grow with the square of its length.
"""

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evo.records import GenerationRecord, GenomeRow, RunFinished, RunStarted
from evo.report.ancestry import rank
from evo.tracking.band_chart import draw_bands
from evo.tracking.base import Tracker
from evo.tracking.connection import MODES, address, answers, base_url, given_mode, has_key, import_wandb
from evo.tracking.curves import AXES, BY_DECISIONS, GENOMES, LINEAGE, curves, genome_cells, lineage_cells, results
from evo.tracking.fame import hall_of_fame, metadata_of, read_best
from evo.tracking.history import History
from evo.tracking.naming import LONGEST, Labels, labels_of
from fitness.errors import ConfigError, OutputError, nearest
from fitness.secrets import hide

if TYPE_CHECKING:
    import wandb

INIT_SECONDS = 20.0
FINISH_SECONDS = 20.0
FLUSH_SECONDS = 1.0
"""How much of an offline run a `kill -9` may cost."""
MAX_LINEAGE = 10_000
"""Rows of the table of everybody; more than that W&B does not show."""
_BINS = 32
_NAME = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """Where a run is tracked on Weights & Biases."""

    mode: str = "auto"
    """auto (what WANDB_MODE says; else online with API key and network, else offline), online, offline or disabled."""
    project: str = "forager"
    """The project's name on W&B."""
    group: str | None = None
    """Runs that belong together; None: those of the experiment or of the ablation."""
    job_type: str | None = None
    """The run's arm within its group; None: what `evo.tracking.naming` reads off its settings."""
    tags: tuple[str, ...] = ()
    """Words to find the run by, besides its arm, world, algorithm and fine-tuning; each of 1 to 64 characters."""
    experiment: str = ""
    """File in `conf/experiment/` that the run was begun with, which names its group and its arm."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ConfigError: The mode is unknown, the project has no name, or a tag is too long or empty.
        """
        if self.mode not in MODES:
            near = nearest(str(self.mode), MODES)
            raise ConfigError(f"tracking.wandb.mode: expected one of {', '.join(MODES)}, got {self.mode!r}{near}")
        if not self.project:
            raise ConfigError("tracking.wandb.project: expected a name, got an empty text")
        object.__setattr__(self, "tags", tuple(self.tags))  # YAML gives a list
        odd = [tag for tag in self.tags if not 0 < len(str(tag)) <= LONGEST]
        if odd:
            raise ConfigError(f"tracking.wandb.tags: expected texts of 1 to {LONGEST} characters, got {odd[0]!r}")

    def build(self) -> "WandbTracker":
        """Return the tracker; nothing is imported or started yet."""
        return WandbTracker(self)


class WandbTracker(Tracker):
    """One W&B run. Does nothing at all if disabled."""

    name = "wandb"

    def __init__(self, config: WandbConfig) -> None:
        """Take the configuration; W&B is first touched by `on_start`."""
        self.must_start = config.mode in ("online", "offline")
        self._config = config
        self._run: wandb.Run | None = None
        self._service: _Service | None = None
        self._rows: Sequence[GenomeRow] = ()
        self._history = History()
        self._folder = Path()
        self._artifact = ""
        self._logged: tuple[str, ...] = ()
        self._forgets = False
        self._finished = False

    def on_start(self, started: RunStarted) -> None:
        """Begin the W&B run in the run's folder.

        Raises:
            ConfigError: W&B is not installed, or mode `online` was asked for and cannot be had.
        """
        mode = given_mode(self._config.mode)
        if mode == "disabled":
            return
        if mode == "auto":
            self._run = self._init_if_possible(started)
        elif mode == "online":
            self._run = self._init_online(started)
        else:
            self._run = self._init(started, "offline")
        self._service = _Service.of(import_wandb())
        self._folder = started.folder
        retention = _settings_of(started).get("retention")
        self._forgets = isinstance(retention, Mapping) and retention.get("adapters") is not None
        self._artifact = _NAME.sub("-", hide(f"adapters-{started.run}-{started.identity}"))[-128:]
        if started.over:
            with contextlib.suppress(OutputError):  # charts then begin where the run goes on
                self._history = History.read(started.folder, started.over)
        _define_axes(self._run)

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        """Log the curves of a generation and how long its lives were; now and then, what needs all generations."""
        self._rows = rows
        if self._run is None:
            return
        self._history.add(record, rows)
        logged = {**curves(record, rows), **self._lifespans(record.generation)}
        due = _is_due(record.generation)
        self._run.log({**logged, **(self._bands() if due else {})})
        if due:
            self._log_adapters(self._run, None, "best-so-far")

    def on_finish(self, finished: RunFinished) -> None:
        """Put the held-out results and the best genome into the W&B run's summary."""
        self._finished = True
        if self._run is not None:
            self._run.summary.update({**results(finished.summary, finished.seconds), **_told(self._best())})

    def close(self) -> None:
        """End the W&B run: as failed, if the run did not come to its end."""
        if self._run is None:
            return
        try:
            self._log_end(self._run)
        finally:
            self._run.finish(exit_code=0 if self._finished else 1)

    def abandon(self) -> None:
        """End W&B's helper process, for which the end of this one would otherwise wait without limit."""
        if self._service is not None:
            self._service.end()

    def _init_if_possible(self, started: RunStarted) -> "wandb.Run":
        """Go online if that looks possible; go offline if it does not, or if W&B refuses."""
        module = import_wandb()
        if has_key(module) and answers(address(base_url(module))):
            with contextlib.suppress(Exception):  # whatever keeps W&B from going online, offline is what auto promises
                return self._init(started, "online")
        return self._init(started, "offline")

    def _init_online(self, started: RunStarted) -> "wandb.Run":
        module = import_wandb()
        if not has_key(module):
            raise ConfigError(
                "tracking.wandb.mode: expected an API key for online (WANDB_API_KEY or `wandb login`), got none; "
                "write offline or auto to do without"
            )
        try:
            return self._init(started, "online")
        except module.errors.Error as error:
            reason = (str(error).strip() or "no reason").splitlines()[0]  # the rest may be a whole page of a proxy
            raise ConfigError(f"tracking.wandb.mode: expected W&B to answer for online, got {reason}") from error

    def _init(self, started: RunStarted, mode: str) -> "wandb.Run":
        module = import_wandb()
        settings = _settings_of(started)
        labels = self._labels(started, settings)
        run: wandb.Run = module.init(
            mode="online" if mode == "online" else "offline",
            project=hide(self._config.project),
            group=hide(labels.group),
            job_type=hide(labels.arm),
            tags=tuple(map(hide, labels.tags)),
            id=started.identity,
            resume="allow" if started.over and mode == "online" else None,
            name=started.run,
            dir=started.folder,
            config={**settings, "forager": _known(started, labels)},
            settings=module.Settings(
                silent=True,
                console="off",
                disable_git=True,
                x_disable_meta=True,  # it holds the command line as it was typed, secrets and all
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
            ),
        )
        return run

    def _labels(self, started: RunStarted, settings: Mapping[str, Any]) -> Labels:
        """Return what the run is found by; what the user has set goes first."""
        config = self._config
        own = labels_of(
            folder=started.folder,
            run=started.run,
            seed=started.seed,
            environment=started.environment,
            experiment=config.experiment,
            settings=settings,
        )
        tags = tuple(dict.fromkeys((*config.tags, *own.tags)))
        return Labels(group=config.group or own.group, arm=config.job_type or own.arm, tags=tags)

    def _best(self) -> GenomeRow | None:
        """Return the genome that the run names as its best, or else the fittest of its last generation."""
        named = read_best(self._folder) if self._finished else None
        row = self._history.latest(named) if named is not None else None
        return row or next((row for row in rank(self._rows) if math.isfinite(row.fitness)), None)

    def _lifespans(self, generation: int) -> dict[str, Any]:
        """Return the histogram of a generation's single lives, in decisions; nothing if they are not on disk."""
        from fitness.telemetry import read_table  # reads Parquet, which no configuration needs

        try:
            table = read_table(self._folder, "episodes", columns=["length", "end"], generation=generation)
        except OutputError:  # forgotten already, if the run keeps little and this thread is late
            return {}
        lived = [
            n for n, end in zip(*(table[c].to_pylist() for c in ("length", "end")), strict=True) if end != "failed"
        ]
        if not lived:
            return {}
        histogram = np.histogram(lived, bins=_BINS, range=(0, max(lived)))
        return {"population/lifespans": import_wandb().Histogram(np_histogram=histogram)}

    def _bands(self) -> dict[str, Any]:
        """Return the chart of how scores spread, of all generations so far."""
        return {"charts/score_bands": import_wandb().Html(draw_bands(self._history.spreads), inject=False)}

    def _log_end(self, run: "wandb.Run") -> None:
        """Log what is only known at the end, and what needs all generations: tables, chart, page and adapters."""
        if not self._rows:
            return
        module = import_wandb()
        everybody = self._history.everybody(MAX_LINEAGE)
        logged = {
            "generation": self._rows[0].generation,
            "decisions": self._history.spreads[-1].decisions,
            "genomes": module.Table(columns=list(GENOMES), data=[genome_cells(row) for row in self._rows]),
            "lineage": module.Table(columns=list(LINEAGE), data=[lineage_cells(one) for one in everybody]),
            **self._bands(),
        }
        page = self._folder / "report.html"
        if self._finished and page.is_file():
            logged["report"] = module.Html(page.read_text(encoding="utf-8"), inject=False)
        run.log(logged)
        self._log_adapters(run, self._best(), "best" if self._finished else "best-so-far")

    def _log_adapters(self, run: "wandb.Run", first: GenomeRow | None, alias: str) -> None:
        """Log the adapters of the hall of fame as a version of one artifact; before the end, only if it has changed."""
        famous = hall_of_fame(self._history.rows, self._folder, first)
        digests = tuple(one.row.adapter for one in famous)
        if not famous or (alias != "best" and digests == self._logged):
            return
        told = {f"{place}-genome-{one.row.id}": metadata_of(one.row) for place, one in enumerate(famous, 1)}
        generation = self._rows[0].generation
        artifact = import_wandb().Artifact(
            self._artifact,
            type="adapter",
            description="LoRA adapters of the best genomes in PEFT's format, a folder for each, the best first",
            metadata={"run": hide(run.name or ""), "generation": generation, "genomes": told},
        )
        for name, one in zip(told, famous, strict=True):
            for file in one.files:
                # Not copied, since files named by their contents do not change; W&B's copies lie in the user's home.
                policy = "mutable" if self._forgets else "immutable"
                artifact.add_file(str(file), name=f"{name}/{file.name}", policy=policy)
        run.log_artifact(artifact, aliases=[alias, f"generation-{generation}"])
        self._logged = digests


@dataclass(frozen=True)
class _Service:
    """W&B's helper process, which W&B gives no public handle for: where the names change, this does nothing."""

    process: Any
    forget: Any
    """Takes back W&B's wish to wait for the process when this one ends."""

    @classmethod
    def of(cls, module: Any) -> "_Service":
        connection = getattr(module.setup(), "_connection", None)
        process = getattr(getattr(connection, "_proc", None), "_process", None)
        return cls(process, getattr(connection, "_cleanup", None))

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
        if self.forget is not None:
            self.forget()


def _settings_of(started: RunStarted) -> dict[str, Any]:
    """Return the configuration as plain values; a reference stays one, since it may lead to a secret."""
    from omegaconf import OmegaConf  # not needed to read this file

    content = OmegaConf.to_container(OmegaConf.create(started.config), resolve=False)
    return {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else {}


def _known(started: RunStarted, labels: Labels) -> dict[str, Any]:
    """Return what holds of every run, whatever its settings look like."""
    return {
        "run": hide(started.run),
        "group": hide(labels.group),
        "arm": hide(labels.arm),
        "environment": started.environment,
        "seed": started.seed,
        "generations": started.generations,
        "population": started.population,
    }


def _define_axes(run: "wandb.Run") -> None:
    for axis in AXES:
        run.define_metric(axis)
    run.define_metric("*", step_metric="generation")
    for name in BY_DECISIONS:  # by their names: of two patterns that fit, W&B takes either
        run.define_metric(f"by_decisions/{name}", step_metric="decisions")


def _is_due(generation: int) -> bool:
    """Tell whether 1, 2, 4, 8, ... generations are over."""
    over = generation + 1
    return over & (over - 1) == 0


def _told(best: GenomeRow | None) -> dict[str, object]:
    if best is None:
        return {}
    return {"best/genome": best.id, "best/strategy": best.strategy, "best/score": best.score}
