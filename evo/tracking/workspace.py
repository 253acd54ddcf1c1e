"""The W&B dashboard of Forager's runs, as code: what `forager workspace` writes and, with a key and a network, saves.

Owns which panels there are. Does not own the names of what they show (curves.py); a test reads a real run back and
finds every one of them in it. The only file that imports wandb_workspaces. To add a panel, add it to the function of
its section, which `_sections` names.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.tracking.connection import address, answers, base_url, given_mode, has_key, import_wandb
from evo.tracking.curves import BANDS
from evo.tracking.naming import labels_of
from evo.tracking.wandb import WandbConfig
from evo.verdicts import REASONS
from fitness.errors import ConfigError, ForagerError, OutputError, describe
from fitness.files import write_text_atomically
from fitness.secrets import hide

FILE = "workspace.json"
_GROUP, _ARM = "Group", "JobType"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose dashboard is wanted.

    Example: `Wanted.of(Path("outputs/ablation-main/joint-0"), project=None, entity=None)`
    """

    project: str
    """On W&B."""
    entity: str = ""
    """User or team that owns it; empty: whom the key belongs to."""
    group: str | None = None
    """Show the runs of this group only; None: all."""
    causes: tuple[str, ...] = ()
    """What can be died of; empty: whatever a run has logged."""

    @classmethod
    def of(cls, run: Path | None, *, project: str | None, entity: str | None) -> "Wanted":
        """Return what a command line asks for: the group of a run, or a whole project.

        Raises:
            ConfigError: There is neither.
            OutputError: The folder is not one of a run.
        """
        if run is None:
            if not project:
                raise ConfigError("arguments: expected a run's folder or --project NAME, given neither")
            return cls(project=project, entity=entity or "")
        from evo.report.reading import read_generations, read_settings  # reads Parquet

        settings = read_settings(run)
        if not settings:
            raise OutputError(f"run: expected the folder of a run (with config.yaml in it), given {run}")
        tracked = next((one for one in (settings.get("tracking") or {}).values() if isinstance(one, dict)), {})
        labels = labels_of(
            folder=run,
            run=run.resolve().name,
            seed=int(settings.get("seed", 0)),
            environment="",
            experiment=str(tracked.get("experiment") or ""),
            settings=settings,
        )
        records = read_generations(run)
        return cls(
            project=project or str(tracked.get("project") or WandbConfig.project),
            entity=entity or "",
            group=hide(str(tracked.get("group") or labels.group)),
            causes=tuple(cause for cause, _ in records[0].deaths) if records else (),
        )


def write_workspace(wanted: Wanted, to: Path) -> str:
    """Write the dashboard to a file and, if W&B can be had, save it there; return what was done, in one sentence.

    Raises:
        ConfigError: The package wandb-workspaces is not installed.
        OutputError: The file cannot be written.
        ForagerError: W&B answers and refuses; the file is written.
    """
    board = build_workspace(wanted)
    write_text_atomically(to, specification(board))
    missing = _missing()
    if missing:
        return f"{to} is written; it is not saved online, because {missing}: mend that, and the same command saves it"
    try:
        board.entity = board.entity or str(import_wandb().Api().default_entity or "")
        board.save()
    except Exception as error:  # W&B's own, of many kinds, and none of them a fault of the file
        reason = describe(error)
        raise ForagerError(f"workspace: expected W&B to take it, got {reason}; {to} is written") from error
    return f"{to} is written, and saved as {board.url}"


def specification(board: Any) -> str:
    """Return a dashboard as JSON, just as W&B would get it."""
    view = board._to_model().model_dump(by_alias=True, exclude_none=True, mode="json")  # what `save` sends
    return json.dumps(view, indent=2) + "\n"


def build_workspace(wanted: Wanted) -> Any:
    """Return the dashboard (a `wandb_workspaces.workspaces.Workspace`); nothing is sent.

    Raises:
        ConfigError: The package wandb-workspaces is not installed.
    """
    ws, wr, expr = _import_workspaces()
    return ws.Workspace(
        entity=wanted.entity,
        project=wanted.project,
        name=f"Forager: {wanted.group}" if wanted.group else "Forager",
        sections=_sections(ws, wr, wanted),
        settings=ws.WorkspaceSettings(x_axis="generation", max_runs=100),
        runset_settings=ws.RunsetSettings(
            groupby=[expr.Metric(_GROUP), expr.Metric(_ARM)],
            filters=expr.And(expr.Metric(_GROUP) == wanted.group) if wanted.group else "",
            pinned_columns=["summary:heldout/evolved/score", "summary:best/score"],
        ),
    )


def _sections(ws: Any, wr: Any, wanted: Wanted) -> list[Any]:
    """Return the sections, those that answer most first."""
    named = (
        ("Arms compared", _arms(wr)),
        ("Population", _population(wr)),
        ("Deaths", _deaths(wr, wanted.causes)),
        ("Fine-tuning", _finetuning(wr)),
        ("Diversity", _diversity(wr)),
        ("Lineage", _lineage(wr)),
        ("Cost", _cost(wr)),
        ("Report", [wr.MediaBrowser(title="Report", media_keys=["report"], num_columns=1)]),
    )
    for name, panels in named:
        for place, panel in enumerate(panels):  # else by chance, and no two files would be the same
            panel._id = hashlib.sha256(f"{name} {place}".encode()).hexdigest()[:11]
    layout = ws.SectionLayoutSettings(columns=2, rows=2)
    return [ws.Section(name=name, panels=panels, is_open=True, layout_settings=layout) for name, panels in named]


def _arms(wr: Any) -> list[Any]:
    """Return arms as mean and range over their seeds, on both axes, and what they came to on held-out worlds."""
    grouped = {"groupby": _ARM, "groupby_aggfunc": "mean", "groupby_rangefunc": "stderr"}
    lines = [
        _line(wr, f"{name} score of the population by {axis}", [f"{space}/{key}"], x=axis, **grouped)
        for name, key in (("Median", "median"), ("Best", "best"))
        for space, axis in (("population", "generation"), ("by_decisions", "decisions"))
    ]
    bars = {"groupby": _ARM, "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    return [
        wr.BarPlot(title="Score on held-out worlds", metrics=["heldout/evolved/score"], **bars),
        wr.BarPlot(title="Decisions spent", metrics=["budget/decisions"], **bars),
        *lines,
        wr.ScatterPlot(
            title="Score on held-out worlds against FLOPs of training",
            x=wr.SummaryMetric("budget/training_flops"),
            y=wr.SummaryMetric("heldout/evolved/score"),
        ),
        wr.RunComparer(diff_only=True),
    ]


def _population(wr: Any) -> list[Any]:
    """Return how scores and lifespans spread, on both axes."""
    axes = (("population", "generation"), ("by_decisions", "decisions"))
    bands = [
        _line(wr, f"Quantiles of the score by {axis}", [f"{space}/{band}" for band in BANDS], x=axis)
        for space, axis in axes
    ]
    scores = [
        _line(wr, f"Score by {axis}", [f"{space}/{name}" for name in ("best", "median", "mean")], x=axis)
        for space, axis in axes
    ]
    lifespans = _line(wr, "Lifespan", ["population/best_lifespan", "population/mean_lifespan"])
    spent = _line(wr, "Lifespan by decisions", ["by_decisions/mean_lifespan"], x="decisions")
    chart = wr.MediaBrowser(title="Bands of the score", media_keys=["charts/score_bands"], num_columns=1)
    single = _line(wr, "Single lives (histograms; select one run)", ["population/lifespans"])
    return [chart, single, *bands, *scores, lifespans, spent]


def _deaths(wr: Any, causes: Sequence[str]) -> list[Any]:
    """Return how lives ended, as shares and as counts."""
    names = [f"deaths/{cause}" for cause in causes]
    which = {"y": names} if names else {"metric_regex": "^deaths/"}
    return [
        wr.LinePlot(title="How lives ended", x="generation", plot_type="pct-area", **which),
        wr.LinePlot(title="How many lives ended so", x="generation", **which),
    ]


def _finetuning(wr: Any) -> list[Any]:
    """Return whether training works: losses, divergence, and what became of tuned adapters."""
    refused = [f"finetune/refused/{reason}" for reason in REASONS]
    return [
        _line(wr, "Loss", ["finetune/loss"]),
        _line(wr, "KL from the policy before, nats per decision", ["finetune/kl"]),
        _line(wr, "Kept and refused", ["finetune/accepted", "finetune/refused", "finetune/shrunk"]),
        _line(wr, "Why refused", refused, plot_type="stacked-area"),
        _line(wr, "Effective sample size, share", ["finetune/ess"]),
        _line(wr, "Variance of returns explained", ["finetune/explained"]),
    ]


def _diversity(wr: Any) -> list[Any]:
    """Return how different genomes are, and how many lines of descent are left."""
    kinds = ("strategy", "text", "adapter", "behaviour")
    return [
        *(_line(wr, f"{kind.capitalize()} diversity", [f"population/{kind}_diversity"]) for kind in kinds),
        _line(wr, "Founders left, effectively", ["population/founders"]),
        _line(wr, "Generations since the last common ancestor", ["population/ancestor"]),
        _line(wr, "Copies and genomes", ["population/copies", "population/genomes"]),
        _line(wr, "Texts written, and of no use", ["operators/written", "operators/unusable"]),
    ]


def _lineage(wr: Any) -> list[Any]:
    """Return who descends from whom, and the last generation."""
    return [wr.WeavePanelSummaryTable(table_name="lineage"), wr.WeavePanelSummaryTable(table_name="genomes")]


def _cost(wr: Any) -> list[Any]:
    """Return what was spent on what."""
    parts = [f"seconds/{part}" for part in ("rollout", "finetune", "model", "generation")]
    return [
        _line(wr, "Seconds of a generation", parts),
        _line(wr, "FLOPs so far", ["population/forward_flops", "population/training_flops"]),
    ]


def _line(wr: Any, title: str, names: list[str], *, x: str = "generation", **settings: Any) -> Any:
    return wr.LinePlot(title=title, x=x, y=names, **settings)


def _missing() -> str:
    """Return what keeps the dashboard from being saved online; empty if nothing does."""
    if (mode := given_mode("auto")) in ("offline", "disabled"):
        return f"WANDB_MODE says {mode}"
    module = import_wandb()
    if not has_key(module):
        return "there is no API key (WANDB_API_KEY or `wandb login`)"
    place = address(base_url(module))
    return "" if answers(place) else f"{place[0]} does not answer"


def _import_workspaces() -> tuple[Any, Any, Any]:
    import_wandb()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own, of pydantic
            import wandb_workspaces.expr as expr
            import wandb_workspaces.reports.v2 as wr
            import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise ConfigError(
            "workspace: expected the package wandb-workspaces to be installed, found none: "
            "pip install 'forager-evo[workspace]'"
        ) from error
    return ws, wr, expr
