"""The best of a space: what `forager tune 'finetune.beta=interval(0.05,1)' trials=20` does.

Owns the words of the command, and keeping as many runs at work as there are jobs: each trial is a run of its own in
`outputs/tune-NAME/trial-NNN/`, as `forager evolve` makes it, or `forager resume` for one that was cut off. Does not own
the trials (`evo/sweep/study.py`): any number of processes may work on the same study, begun by the same command.
"""

import hashlib
import math
import re
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo import processes
from evo.build import build_run
from evo.compose import compose_run
from evo.outputs import is_finished
from evo.stopping import stopping
from evo.sweep.asked import HYDRA, hydra_at_home, tell_apart
from evo.sweep.goals import GOALS, read_outcome
from evo.sweep.space import Space
from evo.sweep.study import SAMPLERS, Claim, Study
from evo.sweep.told import told
from evo.words import tell_apart as own_words
from fitness.checks import check_integer
from fitness.errors import ConfigError, ForagerError, OutputError, nearest
from fitness.files import write_text_atomically

OUTPUTS = Path("outputs")
ATTEMPTS = 3
"""How often a run is begun or gone on with that something killed, before its trial is given up."""
_PAUSE = 0.2
_LOOK = 2.0
"""Seconds between looks for a trial that somebody left behind."""
_BY_SIGNAL = 128
"""Exit codes above are those of a process that a signal ended."""

Begin = Callable[["Claim", Path, tuple[str, ...]], "subprocess.Popen[bytes]"]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is looked for, and where.

    Example: `Tuning.parse(["finetune.beta=interval(0.05,1)", "trials=30", "goals=[median_score,flops]"])`
    """

    trials: int = 20
    """In the study in total, those that fail among them; at least 1."""
    jobs: int = 0
    """Runs at a time; 0: as many as there are cores, each on one."""
    name: str = "main"
    """Of the folder `outputs/tune-NAME`."""
    goals: tuple[str, ...] = ("median_score",)
    """Names in `GOALS`."""
    sampler: str = "tpe"
    """A name in `SAMPLERS`."""
    sampler_seed: int = 0
    """Of what the sampler draws; at least 0. The runs' own `seed` is a field of theirs."""
    overrides: tuple[str, ...] = ()
    """For every run; those with several values are the space."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_integer("trials", self.trials, 1)
        check_integer("jobs", self.jobs, 0)
        check_integer("sampler_seed", self.sampler_seed, 0)
        if not self.name or Path(self.name).name != self.name:
            raise ConfigError(f"name: expected a part of a folder's name, given {self.name!r}")
        if not self.goals or len(set(self.goals)) < len(self.goals):
            raise ConfigError(f"goals: expected different names, at least one, given [{', '.join(self.goals)}]")
        for goal in self.goals:
            _check_name("goals", goal, GOALS)
        _check_name("sampler", self.sampler, SAMPLERS)
        taken = [one for one in self.overrides if one.startswith(HYDRA) and not one.startswith("hydra.searchpath=")]
        if taken:
            raise ConfigError(f"overrides: expected none of Hydra's but hydra.searchpath, given {taken[0]}")

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Tuning":
        """Return what a command line asks for.

        Raises:
            ConfigError: a field is of a wrong kind or out of its range.
        """
        listed = [re.sub(r"^goals=([^\[].*)$", r"goals=[\1]", word) for word in words]  # one needs no brackets
        given = own_words(cls, listed)
        return cls(**given.own, overrides=given.rest)

    @property
    def folder(self) -> Path:
        """Where the study and the runs are."""
        return OUTPUTS / f"tune-{self.name}"

    @property
    def at_a_time(self) -> int:
        """How many runs work at the same time."""
        return self.jobs or processes.cores()


def tune(tuning: Tuning, begin: Begin | None = None) -> str:
    """Bring the study to its number of trials, and return what it found, which is written as well (`trials.md`).

    Args:
        tuning: what is looked for.
        begin: starts a trial's process, given its folder and overrides; None: `forager`, with its share of the cores.

    Raises:
        ConfigError: the space cannot be read, or a value in it cannot be run with; nothing was begun then.
        OutputError: the study that is there was begun with other settings.
        ForagerError: no trial came to its end.
        StoppedError: a signal stopped all runs. It has a note that says how to go on.
    """
    with hydra_at_home():
        asked = tell_apart(tuning.overrides)
        space = Space.of(asked.swept)
    settings = compose_run(asked.fixed).yaml
    _check(space, asked.fixed)
    _make(tuning.folder)
    study = Study(
        tuning.folder,
        space=space,
        goals=tuning.goals,
        sampler=tuning.sampler,
        seed=tuning.sampler_seed,
        settings=hashlib.sha256(settings.encode()).hexdigest(),
    )
    print(f"{tuning.folder}: {len(study.trials)} of {tuning.trials} trials, {tuning.at_a_time} at a time", flush=True)
    if "heldout_score" in tuning.goals:
        print("note: worlds that settings are chosen by are held out no more; confirm the choice with other seeds")
    worker = _Worker(tuning, study, asked.fixed, begin or _beginner(tuning.at_a_time))
    try:
        with stopping():
            worker.work()
    except KeyboardInterrupt as stop:
        stop.add_note("the runs are stopped, and what was recorded is kept; go on with the same command")
        raise
    text = told(study.optuna, tuning.goals)
    write_text_atomically(tuning.folder / "trials.md", text + "\n")
    if study.trials and all(trial.state.name == "FAIL" for trial in study.trials):
        raise ForagerError(f"tune: expected a trial to come to its end, none did: see {tuning.folder}/trial-*.log")
    return text


@dataclass(kw_only=True)
class _Work:
    """A trial and the process that is at it; none while a process that somebody else began is."""

    claim: Claim
    process: "subprocess.Popen[bytes] | None" = None
    begun: int = 0
    """How often."""


class _Worker:
    """Keeps trials at work until there are none to take."""

    def __init__(self, tuning: Tuning, study: Study, fixed: tuple[str, ...], begin: Begin) -> None:
        self._tuning, self._study, self._fixed, self._begin = tuning, study, fixed, begin
        self._working: list[_Work] = []

    def work(self) -> None:
        """Work; whatever ends this ends the runs."""
        try:
            look = 0.0
            while True:
                if time.monotonic() >= look:
                    look = 0.0 if self._fill() else time.monotonic() + _LOOK
                if not self._working:
                    return
                over = [work for work in self._working if self._is_over(work)]
                self._working = [work for work in self._working if work not in over]
                if over:
                    look = 0.0
                else:
                    time.sleep(_PAUSE)
        finally:
            processes.end([work.process for work in self._working if work.process])

    def _fill(self) -> bool:
        """Take trials while there is room; tell whether there may be more to take."""
        while len(self._working) < self._tuning.at_a_time:
            claim = self._study.take(self._tuning.trials)
            if claim is None:
                return False
            self._working.append(_Work(claim=claim))
        return True

    def _folder(self, work: _Work) -> Path:
        return self._tuning.folder / f"trial-{work.claim.number:03}"

    def _is_over(self, work: _Work) -> bool:
        """Do what is next for a trial; tell whether that was the last."""
        if work.process is not None and work.process.poll() is None:
            return False
        folder = self._folder(work)
        code = work.process.returncode if work.process else 0
        if is_finished(folder):
            self._tell(work, folder)
            return True
        if processes.is_taken(folder):  # by a run whose worker was killed
            work.process = None
            return False
        again = code < 0 or code > _BY_SIGNAL or (work.claim.adopted and work.begun < 2)
        if work.begun and not (again and work.begun < ATTEMPTS):
            self._give_up(work, f"exit code {code}: see {processes.log_of(folder)}")
            return True
        overrides = (*self._fixed, *work.claim.overrides)
        work.process, work.begun = self._begin(work.claim, folder, overrides), work.begun + 1
        return False

    def _tell(self, work: _Work, folder: Path) -> None:
        try:
            outcome = read_outcome(folder)
        except OutputError as error:
            self._give_up(work, str(error))
            return
        values = [GOALS[goal].read(outcome) for goal in self._tuning.goals]
        if not all(map(math.isfinite, values)):
            self._give_up(work, f"{dict(zip(self._tuning.goals, values, strict=True))} are no finite numbers")
            return
        self._study.tell(work.claim, values)
        found = ", ".join(f"{goal} {value:.4g}" for goal, value in zip(self._tuning.goals, values, strict=True))
        print(f"[{work.claim.number + 1}/{self._tuning.trials}] {folder.name} {found}: {_said(work)}", flush=True)

    def _give_up(self, work: _Work, why: str) -> None:
        self._study.tell(work.claim, None, why)
        name = self._folder(work).name
        print(f"[{work.claim.number + 1}/{self._tuning.trials}] {name} failed: {_said(work)} ({why})", flush=True)


def _check_name(field: str, given: str, known: Collection[str]) -> None:
    if given not in known:
        raise ConfigError(f"{field}: expected one of {', '.join(known)}, given {given}{nearest(given, known)}")


def _said(work: _Work) -> str:
    return " ".join(work.claim.overrides)


def _beginner(at_a_time: int) -> Begin:
    share = max(1, processes.cores() // at_a_time)

    def begin(claim: Claim, folder: Path, overrides: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        return processes.begin(processes.command(folder, overrides), processes.log_of(folder), share)

    return begin


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: expected a folder that can be written, got {error.strerror}") from error


def _check(space: Space, fixed: Sequence[str]) -> None:
    """Refuse a value that can be run with in no company: beside the first of all others, the last, or without them."""
    problems: dict[str, None] = {}
    for _, companies in space.corners():
        complaints = []
        for company in companies:
            try:
                build_run((*fixed, *company))
            except ConfigError as error:
                complaints.append(str(error))
            else:
                break
        else:
            problems |= dict.fromkeys(complaints[0].splitlines())
    if problems:
        raise ConfigError("\n".join(problems))
