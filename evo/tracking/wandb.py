"""Sends a run to Weights & Biases, or keeps it for later in the run's own folder.

The only file that imports wandb, and only once a run starts. Owns what is logged under which name and whether it goes
over the network. Does not own threads: fanout.py does. To log one more number of a generation, add it to `_curves`.

Curves are drawn over `generation`, never over W&B's own step: an offline run that is resumed begins that one anew.
"""

import contextlib
import math
import netrc
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evo.records import GenerationRecord, GenomeRow, RunFinished, RunStarted, Seconds, Summary
from evo.tracking.base import Tracker
from fitness.errors import ConfigError, nearest
from fitness.secrets import hide

if TYPE_CHECKING:
    import wandb

MODES = ("auto", "online", "offline", "disabled")
CONNECT_SECONDS = 2.0
"""How long `auto` looks for the network, name lookup included."""
INIT_SECONDS = 20.0
FINISH_SECONDS = 20.0
FLUSH_SECONDS = 1.0
"""How much of an offline run a `kill -9` may cost."""

# Names of W&B's own service: a key that was stored under one of them counts for all.
_OWN_SERVERS = frozenset({"api.wandb.ai", "api.forge.coreweave.com"})
_GENOME_COLUMNS = (
    "genome",
    "parents",
    "operator",
    "strategy",
    "adapter",
    "fitness",
    "count",
    "standard_error",
    "score",
)


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """Where a run is tracked on Weights & Biases."""

    mode: str = "auto"
    """auto (what WANDB_MODE says; else online with API key and network, else offline), online, offline or disabled."""
    project: str = "forager"
    """The project's name on W&B."""
    group: str | None = None
    """Runs that belong together, such as the seeds of one arm."""
    tags: tuple[str, ...] = ()
    """Words to find the run by."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ConfigError: The mode is unknown or the project has no name.
        """
        if self.mode not in MODES:
            near = nearest(str(self.mode), MODES)
            raise ConfigError(f"tracking.wandb.mode: expected one of {', '.join(MODES)}, got {self.mode!r}{near}")
        if not self.project:
            raise ConfigError("tracking.wandb.project: expected a name, got an empty text")
        object.__setattr__(self, "tags", tuple(self.tags))  # YAML gives a list

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
        self._finished = False

    def on_start(self, started: RunStarted) -> None:
        """Begin the W&B run in the run's folder.

        Raises:
            ConfigError: W&B is not installed, or mode `online` was asked for and cannot be had.
        """
        mode = _given_mode(self._config.mode)
        if mode == "disabled":
            return
        if mode == "auto":
            self._run = self._init_if_possible(started)
        elif mode == "online":
            self._run = self._init_online(started)
        else:
            self._run = self._init(started, "offline")
        self._service = _Service.of(_import_wandb())
        _define_axes(self._run)

    def on_generation(self, record: GenerationRecord, rows: Sequence[GenomeRow]) -> None:
        """Log the curves of a generation."""
        self._rows = rows
        if self._run is not None:
            self._run.log({"generation": record.generation, **_curves(record)})

    def on_finish(self, finished: RunFinished) -> None:
        """Log the final table of genomes and put the held-out results into the W&B run's summary."""
        self._finished = True
        if self._run is not None:
            self._run.summary.update({**_results(finished.summary, finished.seconds), **_best_of(self._rows)})

    def close(self) -> None:
        """End the W&B run: as failed, if the run did not come to its end."""
        if self._run is None:
            return
        try:
            self._log_genomes(self._run)
        finally:
            self._run.finish(exit_code=0 if self._finished else 1)

    def abandon(self) -> None:
        """End W&B's helper process, for which the end of this one would otherwise wait without limit."""
        if self._service is not None:
            self._service.end()

    def _init_if_possible(self, started: RunStarted) -> "wandb.Run":
        """Go online if that looks possible; go offline if it does not, or if W&B refuses."""
        module = _import_wandb()
        if _has_key(module) and _answers(_address(_base_url(module))):
            with contextlib.suppress(Exception):  # whatever keeps W&B from going online, offline is what auto promises
                return self._init(started, "online")
        return self._init(started, "offline")

    def _init_online(self, started: RunStarted) -> "wandb.Run":
        module = _import_wandb()
        if not _has_key(module):
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
        module = _import_wandb()
        run: wandb.Run = module.init(
            mode="online" if mode == "online" else "offline",
            project=hide(self._config.project),
            group=hide(self._config.group) if self._config.group else None,
            tags=tuple(map(hide, self._config.tags)),
            id=started.identity,
            resume="allow" if started.over and mode == "online" else None,
            name=started.run,
            dir=started.folder,
            config=_settings_of(started),
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

    def _log_genomes(self, run: "wandb.Run") -> None:
        if self._rows:
            table = _import_wandb().Table(columns=list(_GENOME_COLUMNS), data=[_cells(row) for row in self._rows])
            run.log({"generation": self._rows[0].generation, "genomes": table})


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


def _import_wandb() -> Any:
    # Here and not at the top: reading a configuration must not cost two seconds.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B's reports about itself would leave an offline machine
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            "tracking.wandb.mode: expected the package wandb to be installed, found none; write disabled to do without"
        ) from error
    return wandb


def _given_mode(configured: str) -> str:
    """Return the mode to use: what is written, or in auto what W&B's own variable says."""
    wanted = os.environ.get("WANDB_MODE", "").lower()
    return wanted if configured == "auto" and wanted in MODES else configured


def _base_url(module: Any) -> str:
    """Return the address of the W&B server, which may be one's own: from W&B's files and variables."""
    return str(module.setup().settings.base_url)


def _address(url: str) -> tuple[str, int]:
    """Return host and port to connect to."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def _has_key(module: Any) -> bool:
    """Return whether W&B would find an API key without asking for one."""
    settings = module.setup().settings
    if os.environ.get("WANDB_API_KEY") or settings.api_key or settings.identity_token_file:
        return True
    machines = {urlsplit(_base_url(module)).netloc}
    if machines & _OWN_SERVERS:
        machines |= _OWN_SERVERS
    try:
        keys = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(keys.authenticators(machine) for machine in machines)


def _answers(address: tuple[str, int], seconds: float = CONNECT_SECONDS) -> bool:
    """Return whether the server takes a connection within `seconds`, name lookup included."""
    connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=seconds):
            connected.set()

    # A thread, because a name lookup takes no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return connected.is_set()


def _settings_of(started: RunStarted) -> dict[str, Any]:
    from omegaconf import OmegaConf  # not needed to read this file

    content = OmegaConf.to_container(OmegaConf.create(started.config), resolve=False)
    settings = {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else {}
    known = {
        "run": started.run,
        "environment": started.environment,
        "seed": started.seed,
        "generations": started.generations,
        "population": started.population,
    }
    return {**settings, "forager": known}


def _define_axes(run: "wandb.Run") -> None:
    run.define_metric("generation")
    run.define_metric("*", step_metric="generation")


def _curves(record: GenerationRecord) -> dict[str, float]:
    return {
        "population/best": record.best,
        "population/median": record.median,
        "population/mean": record.mean,
        "population/best_lifespan": record.best_lifespan,
        "population/mean_lifespan": record.mean_lifespan,
        "population/strategy_diversity": record.strategy_diversity,
        "population/text_diversity": record.text_diversity,
        "population/adapter_diversity": record.adapter_diversity,
        "population/behaviour_diversity": record.behaviour_diversity,
        "population/founders": record.founders,
        "population/ancestor": record.ancestor,
        "population/copies": record.copies,
        "population/genomes": record.genomes,
        "population/episodes": record.episodes,
        "population/decisions": record.decisions,
        "population/forward_flops": record.forward_flops,
        "population/training_flops": record.training_flops,
        **{f"deaths/{cause}": count for cause, count in record.deaths},
        "finetune/ess": record.ess,
        "finetune/explained": record.explained,
        "finetune/loss": record.loss,
        "finetune/kl": record.kl,
        "finetune/accepted": record.accepted,
        "finetune/refused": record.refused,
        **{f"finetune/refused/{reason}": count for reason, count in record.refusals},
        "finetune/shrunk": record.shrunk,
        "operators/screened": record.screened,
        "operators/screen_rank": record.screen_rank,
        "operators/written": record.written,
        "operators/unusable": record.unusable,
        "population/unreadable": record.unreadable,
        "seconds/generation": record.seconds,
        "seconds/rollout": record.rollout_seconds,
        "seconds/finetune": record.finetune_seconds,
        "seconds/model": record.model_seconds,
    }


def _cells(row: GenomeRow) -> list[object]:
    parents = " ".join(str(parent) for parent in row.parents)
    made = (row.id, parents, row.operator, row.strategy, row.adapter)
    return [*made, row.fitness, row.count, row.standard_error, row.score]


def _best_of(rows: Sequence[GenomeRow]) -> dict[str, object]:
    finite = [row for row in rows if math.isfinite(row.fitness)]
    if not finite:
        return {}
    best = max(finite, key=lambda row: row.fitness)
    return {"best/genome": best.id, "best/strategy": best.strategy, "best/score": best.score}


def _results(summary: Summary, seconds: Seconds) -> dict[str, float]:
    values: dict[str, float] = {}
    for policy, result in summary.heldout:
        low, high = result.ci
        values |= {
            f"heldout/{policy}/score": result.score,
            f"heldout/{policy}/ci_low": low,
            f"heldout/{policy}/ci_high": high,
            f"heldout/{policy}/lifespan": result.lifespan,
            f"heldout/{policy}/episodes": result.episodes,
        }
    budget = summary.budget
    return values | {
        "budget/decisions": budget.decisions,
        "budget/forward_flops": budget.forward_flops,
        "budget/training_flops": budget.training_flops,
        "budget/wall_seconds": seconds.wall,
        "budget/model_seconds": seconds.model,
    }
