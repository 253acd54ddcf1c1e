"""Every combination of several values: what `forager evolve --multirun seed=0,1 selection=tournament,lexicase` does.

Owns which runs there are, where each is written, and what is said of them. Hydra's own sweeper makes the combinations
and Hydra's own launcher begins them, one by one (`basic`) or several at a time (`hydra/launcher=joblib`); to have
another launcher, install its plug-in. Each run is a process of its own, in a folder that carries its values.
"""

import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from evo import processes
from evo.build import Plan, build_run
from evo.compose import known_groups
from evo.outputs import CLAIM, is_finished
from evo.stopping import stopping
from evo.sweep.asked import HYDRA, Asked, hydra_at_home, plain, tell_apart
from fitness.errors import ConfigError, ForagerError, OutputError, describe, listed, nearest

LAUNCHER, FOLDER, PLACES = "hydra/launcher", "hydra.sweep.dir", "hydra.searchpath"
_QUIET = ("hydra.sweep.subdir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
_LOCAL = ("basic", "joblib")
"""Launchers whose runs share this machine's cores."""
_LONGEST = 120
"""Characters of a folder's name."""
_PAUSE = 0.2


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run.

    Example: `Job(folder=Path("outputs/sweep-a/0-seed=1"), overrides=("experiment=tiny", "seed=1"), key="seed=1")`
    """

    folder: Path
    """Where it is written."""
    overrides: tuple[str, ...]
    """All of them, without the folder."""
    key: tuple[str, ...]
    """Those in which it differs from the others, as Hydra names them to the launcher."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a command line asks for."""

    asked: Asked
    """Without what is Hydra's."""
    hydra: tuple[str, ...]
    """What is Hydra's."""
    folder: Path
    """Of the whole sweep."""
    named: bool
    """Whether the user chose the folder, and so may go on in it."""
    share: int | None
    """Of the cores, for each run; None where a launcher takes runs to other machines."""

    def jobs(self) -> tuple[Job, ...]:
        """Return the runs, as Hydra's sweeper combines the values."""
        endless = next((one for one in self.asked.swept if not one.is_discrete_sweep()), None)
        if endless is not None:
            raise ConfigError(
                f"{endless.key_or_group}: expected values that can be counted, given {endless.input_line!r}; "
                "`forager tune` searches intervals"
            )
        combined = [tuple(one) for one in BasicSweeper.split_arguments(list(self.asked.swept), None)[0]]
        if len(set(combined)) < len(combined):
            twice = " ".join(map(plain, next(one for one in combined if combined.count(one) > 1)))
            raise ConfigError(f"multirun: expected every combination once, given {twice} more than once")
        digits = len(str(len(combined) - 1))
        return tuple(
            Job(
                folder=self.folder / _name(f"{number:0{digits}}", key),
                overrides=(*self.asked.fixed, *map(plain, key)),
                key=key,
            )
            for number, key in enumerate(combined)
        )


def multirun(words: Sequence[str]) -> str:
    """Run every combination of the values in `words`, and return what became of them.

    Raises:
        ConfigError: a combination cannot be made, or Hydra's own part is not understood; nothing was begun then.
        OutputError: the folder cannot be written, or holds runs with other settings.
        ForagerError: a run failed; the others were finished.
        StoppedError: a signal stopped all runs. It has notes that say how to go on.
    """
    with hydra_at_home():
        sweep = _read(words)
    _check(sweep.jobs())
    sweep = sweep if sweep.named else replace(sweep, folder=claim(sweep.folder))
    jobs = sweep.jobs()
    print(f"{sweep.folder}: {len(jobs)} runs, {_finished(jobs)} finished", flush=True)
    try:
        with stopping(), hydra_at_home() as hydra:
            _launch(hydra, sweep, jobs)
    except KeyboardInterrupt as stop:
        _add_ways_on(stop, words, sweep, jobs)
        raise
    if failed := [job for job in jobs if not is_finished(job.folder)]:
        logs = listed(processes.log_of(job.folder) for job in failed)
        raise ForagerError(f"multirun: expected all runs to finish, {len(failed)} of {len(jobs)} did not: see {logs}")
    return f"compare them with: forager compare {shlex.quote(str(sweep.folder))}/*/"


def work_on(jobs: Sequence[Job], share: int | None, config: DictConfig) -> None:
    """Do one run, or go on with it: what Hydra's launcher calls for each, in whatever process.

    A run that fails says so in its log; whether it came to its end is seen by its folder.
    """
    given = set(HydraConfig.get().overrides.task)
    job = next(job for job in jobs if given.issuperset(job.key))
    while processes.is_taken(job.folder):  # by a run whose sweep was killed
        time.sleep(_PAUSE)
    if is_finished(job.folder):
        return
    process = processes.begin(processes.command(job.folder, job.overrides), processes.log_of(job.folder), share)
    try:
        process.wait()
    finally:
        processes.end([process])
    print(f"{job.folder.name} {'finished' if is_finished(job.folder) else 'failed'}", flush=True)


def _read(words: Sequence[str]) -> Sweep:
    """Tell what is Hydra's from what is the runs', and check the former."""
    hydra = tuple(word for word in words if word.startswith(HYDRA) and not word.startswith(f"{PLACES}="))
    asked = tell_apart([word for word in words if word not in hydra])
    for word in hydra:
        _check_hydra(word)
    try:
        # Choices of groups say what the experiment is called; fields may be secret, and Hydra writes down what it gets.
        config = compose("config", overrides=[*_groups(asked.fixed), *hydra], return_hydra_config=True).hydra
        folder, launcher = Path(str(config.sweep.dir)).expanduser(), str(config.runtime.choices[LAUNCHER])
        at_a_time = int(config.launcher.get("n_jobs", 1))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"multirun: {describe(error)}") from error
    together = at_a_time if at_a_time > 0 else max(1, processes.cores() + 1 + at_a_time)
    sweep = Sweep(
        asked=asked,
        hydra=hydra,
        folder=folder,
        named=any(word.startswith(f"{FOLDER}=") for word in hydra),
        share=None,
    )
    share = max(1, processes.cores() // min(together, len(sweep.jobs())))
    return replace(sweep, share=share if launcher in _LOCAL else None)


def _check_hydra(word: str) -> None:
    """Refuse what is Hydra's and has no meaning here."""
    key, _, value = word.partition("=")
    known = (LAUNCHER, FOLDER, PLACES)
    if key not in known and not key.startswith("hydra.launcher."):
        raise ConfigError(
            f"{key}: expected one of {', '.join(known)}, hydra.launcher.* with --multirun, given {word}"
            f"{nearest(key, known)}"
        )
    options = GlobalHydra.instance().config_loader().get_group_options(LAUNCHER)
    if key == LAUNCHER and value not in options:
        missing = "" if "joblib" in options else "; joblib comes with: pip install 'forager-evo[sweep]'"
        raise ConfigError(
            f"{key}: expected one of {', '.join(options)}, given {value}{nearest(value, options)}{missing}"
        )
    if key == FOLDER and not value.strip():
        raise ConfigError(f"{key}: expected a path, given {word}")


def _groups(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that choose a file, and the places to look for files."""
    known = {PLACES, *known_groups()}
    return [one for one in overrides if plain(one).partition("=")[0] in known]


def _check(jobs: Sequence[Job]) -> None:
    """Make the plan of every run; refuse those that cannot be made, and folders that hold something else."""
    problems: dict[str, Job] = {}
    for job in jobs:
        try:
            _check_folder(job, build_run(job.overrides))
        except ConfigError as error:
            for line in str(error).splitlines():
                problems.setdefault(line, job)
    if problems:
        several = len(jobs) > 1
        raise ConfigError("\n".join(f"{line}{_where(job) if several else ''}" for line, job in problems.items()))


def _where(job: Job) -> str:
    return f" (in {' '.join(map(plain, job.key))})"


def _check_folder(job: Job, plan: Plan) -> None:
    """Refuse to go on with a run of other settings."""
    path = job.folder / CLAIM
    if path.is_file() and replace(plan, yaml=path.read_text(encoding="utf-8")).fingerprint != plan.fingerprint:
        raise OutputError(f"{path}: expected the settings that are asked for now, got others: set {FOLDER}=ANOTHER")


def claim(folder: Path) -> Path:
    """Make the folder of a sweep, or the first of `folder-2`, `folder-3` that is free, and return it."""
    number = 1
    while True:
        one = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            one.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        return one


def _launch(hydra: Any, sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Have Hydra's sweeper and launcher do all runs."""
    swept = [f"{override.get_key_element()}={override.get_value_string()}" for override in sweep.asked.swept]
    folder = processes.as_override(FOLDER, sweep.folder)
    own = [one for one in sweep.hydra if not one.startswith(f"{FOLDER}=")]
    try:
        hydra.multirun(
            "config",
            partial(work_on, jobs, sweep.share),
            [*_groups(sweep.asked.fixed), *swept, *own, folder, *_QUIET],
        )
    except (HydraException, OmegaConfBaseException, RuntimeError) as error:
        raise ForagerError(f"multirun: expected the launcher to do its work, got {describe(error)}") from error


def _add_ways_on(stop: KeyboardInterrupt, words: Sequence[str], sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Say how to go on with every run that was cut off, and with all."""
    begun = [job for job in jobs if (job.folder / CLAIM).exists() and not is_finished(job.folder)]
    for job in begun:
        stop.add_note(f"{job.folder.name} was cut off; go on with: forager resume {shlex.quote(str(job.folder))}")
    waiting = len(jobs) - len(begun) - _finished(jobs)
    named = () if sweep.named else (f"{FOLDER}={sweep.folder}",)
    again = shlex.join(["forager", "evolve", "--multirun", *words, *named])
    stop.add_note(f"{_finished(jobs)} finished, {waiting} not begun; go on with all that is left: {again}")


def _finished(jobs: Sequence[Job]) -> int:
    return sum(is_finished(job.folder) for job in jobs)


def _name(number: str, key: Sequence[str]) -> str:
    """Return a folder's name that says what is different, without what no folder's name should have."""
    told = ",".join(map(plain, key)).replace("/", ".")
    return "-".join(filter(None, (number, re.sub(r"[^\w.,=+-]+", "_", told)[:_LONGEST])))
