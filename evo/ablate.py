"""Arms by seeds: what `forager ablate arms=[...] seeds=10` does.

Owns which runs there are, and keeping some of them at work until all are finished: each is a process of its own
(`forager evolve`, or `forager resume` for one that was cut off) in `outputs/ablation-NAME/ARM-SEED/`. Does not own what
an arm is: that is a file in `conf/experiment/ablation/`, and to add one, add a file.
"""

import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo import processes
from evo.build import build_run
from evo.compose import CONF_FOLDER, from_yaml
from evo.outputs import CLAIM, is_finished
from evo.processes import command, cores, log_of
from evo.report.compare import write_comparison
from evo.stopping import stopping
from evo.words import tell_apart
from fitness.checks import check_integer
from fitness.errors import ConfigError, ForagerError, OutputError, listed

ARMS = "ablation"
"""Folder of `conf/experiment/`."""
OUTPUTS = Path("outputs")
_PAUSE = 0.2


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Which runs there are to be.

    Example: `Ablation.parse(["arms=[joint,selection]", "seeds=10", "budget.decisions=50000"])`
    """

    arms: tuple[str, ...]
    """Names of files in `conf/experiment/ablation/`; at least one."""
    seeds: int = 10
    """Runs of each arm, with seeds from 0; at least 1."""
    jobs: int = 0
    """Runs at a time; 0: as many as there are cores, each on one."""
    name: str = "main"
    """Of the folder `outputs/ablation-NAME`."""
    overrides: tuple[str, ...] = ()
    """For every run: `field=value` or `group=name`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_integer("seeds", self.seeds, 1)
        check_integer("jobs", self.jobs, 0)
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ConfigError(f"arms: expected different names, at least one, given [{', '.join(self.arms)}]")
        if not self.name or Path(self.name).name != self.name:
            raise ConfigError(f"name: expected a part of a folder's name, given {self.name!r}")
        taken = [one for one in self.overrides if one.startswith(("seed=", "experiment=", "hydra.run.dir="))]
        if taken:
            raise ConfigError(f"overrides: expected none of seed, experiment, hydra.run.dir, given {taken[0]}")

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Ablation":
        """Return what a command line asks for; words that are no field of an ablation go to every run.

        Raises:
            ConfigError: a field is of a wrong kind or out of its range.
        """
        given = tell_apart(cls, words)
        return cls(**{"arms": known_arms(), **given.own}, overrides=given.rest)

    @property
    def folder(self) -> Path:
        """Where the runs are."""
        return OUTPUTS / f"ablation-{self.name}"

    @property
    def at_a_time(self) -> int:
        """How many runs work at the same time."""
        return self.jobs or cores()

    def tasks(self) -> list["Task"]:
        """Return the runs, all arms of a seed before the next, so that what is there can be compared at any time."""
        return [
            Task(arm=arm, seed=seed, folder=self.folder / f"{arm}-{seed}", overrides=self.overrides)
            for seed in range(self.seeds)
            for arm in self.arms
        ]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run."""

    arm: str
    seed: int
    folder: Path
    overrides: tuple[str, ...]

    @property
    def log(self) -> Path:
        """Where what it says goes."""
        return log_of(self.folder)

    def command(self) -> list[str]:
        """Return what begins the run, or goes on with it."""
        return command(self.folder, (*_experiment(self.arm), *self.overrides, f"seed={self.seed}"))


Begin = Callable[[Task], "subprocess.Popen[bytes]"]


def ablate(ablation: Ablation, begin: Begin | None = None) -> str:
    """Finish all runs, and return their comparison, which is written as well.

    Runs that are finished are left as they are; those that were cut off go on.

    Args:
        ablation: which runs.
        begin: starts a run's process; None: `forager`, with its share of the cores.

    Raises:
        ConfigError: an arm is unknown or cannot be made; nothing was begun then.
        OutputError: a run that is there was begun with other settings.
        ForagerError: a run failed; the others were finished.
        StoppedError: a signal stopped all runs. It has a note that says how to go on.
    """
    tasks = ablation.tasks()
    _check_settings(ablation, tasks)
    ablation.folder.mkdir(parents=True, exist_ok=True)
    todo = [task for task in tasks if not is_finished(task.folder)]
    print(f"{ablation.folder}: {len(tasks)} runs, {len(tasks) - len(todo)} finished, {ablation.at_a_time} at a time")
    try:
        with stopping():
            failed = work(todo, ablation.at_a_time, begin or _beginner(ablation.at_a_time))
    except KeyboardInterrupt as stop:
        stop.add_note("the runs are stopped, and what was recorded is kept; go on with the same command")
        raise
    if failed:
        logs = listed(task.log for task in failed)
        raise ForagerError(f"ablate: expected all runs to finish, {len(failed)} of {len(tasks)} did not: see {logs}")
    return write_comparison([task.folder for task in tasks], to=ablation.folder / "comparison")


def work(tasks: Sequence[Task], at_a_time: int, begin: Begin) -> list[Task]:
    """Keep runs at work until none is left; return those that failed. Whatever ends this ends them all.

    A run that another process has, such as one whose ablation was killed, is left to it, and gone on with if that ends.
    """
    waiting, running, failed = deque(tasks), dict[Task, "subprocess.Popen[bytes] | None"](), list[Task]()
    over = 0
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                running[waiting.popleft()] = None
            for task, process in list(running.items()):
                if process is None and not is_finished(task.folder):
                    running[task] = None if processes.is_taken(task.folder) else begin(task)
                elif process is None or process.poll() is not None:
                    del running[task]
                    bad, over = bool(process and process.returncode) or not is_finished(task.folder), over + 1
                    failed += [task] if bad else []
                    print(f"[{over}/{len(tasks)}] {task.folder.name} {'failed' if bad else 'finished'}", flush=True)
            time.sleep(_PAUSE if running else 0)
    finally:
        processes.end([process for process in running.values() if process])
    return failed


def known_arms() -> tuple[str, ...]:
    """Return the names of the arms that ship."""
    return tuple(sorted(path.stem for path in (CONF_FOLDER / "experiment" / ARMS).glob("*.yaml")))


def _beginner(at_a_time: int) -> Begin:
    """Return what starts a run on its share of the cores."""
    share = max(1, cores() // at_a_time)
    return lambda task: processes.begin(task.command(), task.log, share)


def _check_settings(ablation: Ablation, tasks: Sequence[Task]) -> None:
    """Make every arm's plan, and refuse to go on with a run of another one."""
    plans = {arm: build_run([*_experiment(arm), *ablation.overrides]).yaml for arm in ablation.arms}
    for task in tasks:
        path = task.folder / CLAIM
        if path.is_file() and _settings(path.read_text(encoding="utf-8"), path) != _settings(plans[task.arm], path):
            raise OutputError(f"{path}: expected the settings that are asked for now, got others: set name=ANOTHER")


def _settings(text: str, path: Path) -> Mapping[str, Any]:
    """Return settings without the seed."""
    try:
        return {field: value for field, value in from_yaml(text, resolve=False).items() if field != "seed"}
    except ValueError as error:
        raise OutputError(f"{path}: expected the settings of a run, got {error}") from error


def _experiment(arm: str) -> tuple[str, ...]:
    return (f"experiment={ARMS}/{arm}",)
