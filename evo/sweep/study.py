"""The trials of a study: which there are, who works on which, and what came of them.

Owns `study.db`, Optuna's own storage in SQLite, and who may do what to it: what is asked and told happens under a lock
on the study, and whoever works on a trial holds a lock on that one, which the system takes back when the process ends,
however it ends. A trial that is running with nobody's lock was left behind and is handed out again. Does not own the
runs (`evo/sweep/tune.py`) or what may be tried (`evo/sweep/space.py`).
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from evo.sweep.goals import GOALS
from evo.sweep.space import Space
from fitness.errors import OutputError

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True),
    "random": lambda seed: RandomSampler(seed=seed),
    "nsgaii": lambda seed: NSGAIISampler(seed=seed, population_size=16),
}
"""Makes one from a seed, anew for each trial: what it knows, it reads from the study."""
WHY = "why"
"""Attribute of a failed trial."""
_SETTINGS = "settings"
_BUSY_SECONDS = 60.0
"""How long SQLite waits for another process."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A trial that this process works on, and nobody else."""

    number: int
    """Of the trial, from 0."""
    overrides: tuple[str, ...]
    """What it tries."""
    adopted: bool
    """Whether somebody else began it, and ended."""
    descriptor: int
    """Of the lock."""


class Study:
    """Trials on disk, for as many processes as there are."""

    def __init__(
        self, folder: Path, *, space: Space, goals: Sequence[str], sampler: str, seed: int, settings: str
    ) -> None:
        """Open the study in `folder`, or begin it.

        Args:
            folder: is there.
            space: what may be tried.
            goals: names in `GOALS`, at least one.
            sampler: a name in `SAMPLERS`.
            seed: of the sampler's chance; every trial has a stream of its own.
            settings: what all trials have in common, as text.

        Raises:
            OutputError: the study that is there was begun with others, or cannot be read.
        """
        self._folder, self._space, self._sampler, self._seed = folder, space, sampler, seed
        asked = {"space": space.told(), "goals": list(goals), "sampler": sampler, "seed": seed, "runs": settings}
        with self._alone():
            self._study = _open(folder, [GOALS[goal].direction for goal in goals])
            known = self._study.user_attrs.get(_SETTINGS)
            if known is None:
                self._study.set_user_attr(_SETTINGS, json.dumps(asked))
            elif json.loads(known) != asked:
                told = ", ".join(name for name, value in json.loads(known).items() if value != asked.get(name))
                raise OutputError(
                    f"{folder}: expected the settings that the study began with, given another {told}: set name=ANOTHER"
                )

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, in order."""
        return self._study.get_trials(deepcopy=False)

    @property
    def optuna(self) -> optuna.Study:
        """Optuna's own object, to look at."""
        return self._study

    def take(self, most: int) -> Claim | None:
        """Return a trial to work on: one that was left behind, or a new one if there are less than `most`."""
        with self._alone():
            trials = self.trials
            for left in (trial for trial in trials if trial.state == TrialState.RUNNING):
                descriptor = _lock(self._claim(left.number), wait=False)
                if descriptor is not None:
                    return self._hand_out(Trial(self._study, left._trial_id), descriptor, adopted=True)
            if len(trials) >= most:
                return None
            seeds = np.random.SeedSequence([self._seed, len(trials)])
            self._study.sampler = SAMPLERS[self._sampler](int(seeds.generate_state(1)[0]))
            trial = self._study.ask()
            descriptor = _lock(self._claim(trial.number), wait=False)
            assert descriptor is not None, "a trial that nobody knew of is locked"
            return self._hand_out(trial, descriptor, adopted=False)

    def tell(self, claim: Claim, values: Sequence[float] | None, why: str = "") -> None:
        """Note what came of a trial, and let go of it.

        Args:
            claim: the trial.
            values: of the goals, all finite; None if it failed.
            why: it failed.
        """
        with self._alone():
            if values is None:
                (trial,) = (one for one in self.trials if one.number == claim.number)
                Trial(self._study, trial._trial_id).set_user_attr(WHY, why)
                self._study.tell(claim.number, state=TrialState.FAIL)
            else:
                self._study.tell(claim.number, list(values))
            self._claim(claim.number).unlink(missing_ok=True)
            os.close(claim.descriptor)

    def _hand_out(self, trial: Trial, descriptor: int, *, adopted: bool) -> Claim:
        overrides = self._space.suggest(trial)  # of one that was left behind, what was suggested then
        return Claim(number=trial.number, overrides=overrides, adopted=adopted, descriptor=descriptor)

    def _claim(self, number: int) -> Path:
        return self._folder / f".trial-{number:03}.lock"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study; whoever else wants it waits."""
        descriptor = _lock(self._folder / ".lock", wait=True)
        assert descriptor is not None
        try:
            yield
        finally:
            os.close(descriptor)


def _open(folder: Path, directions: Sequence[Literal["maximize", "minimize"]]) -> optuna.Study:
    """Return Optuna's study in `folder`; its own notes to the console are not ours."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "study.db"
    try:
        storage = RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}})
        return optuna.create_study(
            study_name="forager", storage=storage, directions=list(directions), load_if_exists=True
        )
    except Exception as error:
        raise OutputError(f"{path}: expected a study of Optuna's that can be written, got {error}") from error


def _lock(path: Path, *, wait: bool) -> int | None:
    """Return a descriptor that holds the lock on a file; None if somebody else has it.

    Raises:
        OutputError: it cannot be had here.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise OutputError(f"{path}: expected a file that can be written, got {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise OutputError(f"{path}: expected a file system with locks, got {error.strerror}") from error
    return descriptor
