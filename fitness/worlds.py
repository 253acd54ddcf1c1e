"""Worlds side by side, in which the one that breaks fails alone.

Owns what happens when an environment raises, or answers with what is no answer: its batch is halved, each half is made
anew and lives its past again (an episode is a function of its seed and actions alone, so it comes out where it was),
until the episode that breaks is by itself. That one has failed; all others go on as if nothing had been. Does not own
who decides (`fitness.rollout`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fitness.environments.base import EnvironmentConfig, Ints, TextVectorEnv
from fitness.errors import describe

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class View:
    """What k living agents see; arrays [k]."""

    rows: Ints
    """Which episodes, in rising order."""
    text: NDArray[np.object_]
    vitals: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some episodes in one environment."""

    rows: Ints
    env: TextVectorEnv


class Worlds:
    """n episodes, begun on their seeds."""

    def __init__(self, environment: EnvironmentConfig, seeds: Ints) -> None:
        """Begin.

        Args:
            environment: makes the worlds.
            seeds: [n] one for each episode.
        """
        self._environment, self._seeds = environment, np.asarray(seeds, np.int64).copy()
        self._past: list[Ints] = []
        count = len(self._seeds)
        self.error = np.full(count, "", object)
        """[n] what broke in an episode that failed."""
        self.died, self.outlived = np.zeros(count, bool), np.zeros(count, bool)
        self.length, self.cause = np.zeros(count, np.int32), np.full(count, "", object)
        everyone, self._horizon = np.arange(count), 0
        self._batches = [batch for batch, _ in self._attempt(everyone, partial(self._revive, everyone), lambda _: None)]

    @property
    def living(self) -> Ints:
        """[k] rows of the episodes that go on."""
        return np.flatnonzero(~(self.died | self.outlived | (self.error != "")))

    def fail(self, row: int, reason: str) -> None:
        """End an episode that goes on, for a reason that is ours."""
        if not (self.died[row] or self.outlived[row] or self.error[row]):
            self.error[row] = reason

    def look(self) -> View:
        """Return what the living see; an episode that cannot be shown has failed."""
        seen = self._each(_see)
        rows = np.concatenate([view.rows for view in seen]) if seen else np.zeros(0, np.int64)
        order = np.argsort(rows)
        order = order[np.isin(rows[order], self.living)]
        if not len(order):
            return View(rows[order], np.zeros(0, object), np.zeros((0, 0), np.float32))
        text, vitals = (np.concatenate([getattr(view, name) for view in seen])[order] for name in ("text", "vitals"))
        return View(rows[order], text, vitals)

    def act(self, choose: Callable[[TextVectorEnv, Ints], Ints]) -> None:
        """Live one step.

        Args:
            choose: (environment, rows) -> the actions [k] of the episodes in it.
        """
        living, actions = self.living, np.zeros(len(self._seeds), np.int64)
        for chosen, view in self._each(partial(_act, choose)):
            actions[view.rows] = chosen
            mine = np.isin(view.rows, living)
            rows = view.rows[mine]
            self.died[rows], self.outlived[rows] = view.died[mine], view.outlived[mine]
            self.length[rows], self.cause[rows] = view.length[mine], view.cause[mine]
        self._past.append(actions)
        if len(self._past) >= self._horizon:
            for row in self.living:
                self.fail(int(row), f"environment: expected an end within the horizon of {self._horizon} steps")

    def _each(self, do: Callable[[_Batch], Answer]) -> list[Answer]:
        """Return what `do` answers for every batch, after halving those that break."""

        def kept(batch: _Batch) -> _Batch:
            return batch

        done = [pair for one in self._batches for pair in self._attempt(one.rows, partial(kept, one), do)]
        self._batches = [batch for batch, _ in done]
        return [answer for _, answer in done]

    def _attempt(
        self, rows: Ints, make: Callable[[], _Batch], do: Callable[[_Batch], Answer]
    ) -> list[tuple[_Batch, Answer]]:
        """Do it with a batch, or with its halves if it breaks; a lone episode that breaks is left out."""
        try:
            batch = make()
            return [(batch, do(batch))]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an environment may be anybody's, and raise anything
            if len(rows) == 1:
                self.fail(int(rows[0]), f"environment: {describe(error)}")
                return []
        halves = np.array_split(rows, 2)
        return [pair for half in halves for pair in self._attempt(half, partial(self._revive, half), do)]

    def _revive(self, rows: Ints) -> _Batch:
        """Make episodes anew and let them live what they have lived."""
        env = self._environment.make(len(rows))
        self._horizon = max(1, int(env.horizon))
        env.begin(self._seeds[rows], np.arange(len(rows)))
        for actions in self._past:
            env.advance(actions[rows])
        return _Batch(rows, env)


@dataclass(frozen=True, eq=False)
class _Ends:
    """Where k episodes stand; arrays [k]."""

    rows: Ints
    died: NDArray[np.bool_]
    outlived: NDArray[np.bool_]
    length: NDArray[np.int32]
    cause: NDArray[np.object_]


def _see(batch: _Batch) -> View:
    """Return what is shown in one environment."""
    env, count = batch.env, len(batch.rows)
    texts, vitals = list(env.observe()), np.asarray(env.vitals, np.float32)
    if len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"expected {count} texts to observe, got {len(texts)} of {sorted({type(t).__name__ for t in texts})}"
        )
    _check_texts(texts, env)
    if vitals.shape != (count, len(env.vital_names)):
        raise ValueError(f"expected vitals of shape {(count, len(env.vital_names))}, got {vitals.shape}")
    if not np.isfinite(vitals).all():
        raise ValueError(f"expected finite vitals, got {vitals[~np.isfinite(vitals)][0]}")
    return View(batch.rows, np.array(texts, object), vitals.copy())


def _check_texts(texts: Sequence[str], env: TextVectorEnv) -> None:
    """Refuse a text that no file can hold, or that is longer than the environment says that its texts are."""
    longest = env.single_observation_space.max_length  # type: ignore[attr-defined]  # Text, by the contract
    for text in texts:
        if len(text) > longest:
            raise ValueError(f"expected texts of at most {longest} characters to observe, got one of {len(text)}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"expected texts to observe that are UTF-8, got {text[error.start]!r} in one") from error


def _act(choose: Callable[[TextVectorEnv, Ints], Ints], batch: _Batch) -> tuple[Ints, _Ends]:
    """Live one step in one environment."""
    env, count = batch.env, len(batch.rows)
    chosen = choose(env, batch.rows)
    env.advance(chosen)
    died, outlived, length = np.asarray(env.died), np.asarray(env.outlived), np.asarray(env.length)
    cause = np.asarray(env.cause)
    answers = (("died", died, "b"), ("outlived", outlived, "b"), ("length", length, "iu"), ("cause", cause, "iu"))
    for name, values, kind in answers:
        if values.shape != (count,) or values.dtype.kind not in kind:
            raise ValueError(f"expected {name} of shape {(count,)}, got {values.dtype} of shape {values.shape}")
    if (died & outlived).any():
        raise ValueError("expected episodes that died or were outlived, got one that did both")
    if ((cause < -1) | (cause >= len(env.causes))).any():
        raise ValueError(f"expected causes from -1 to {len(env.causes) - 1}, got {cause.min()} to {cause.max()}")
    if ((length < 0) | (length > env.horizon)).any():
        raise ValueError(f"expected lengths from 0 to {env.horizon}, got {length.min()} to {length.max()}")
    names = np.array([*env.causes, ""], object)
    return chosen, _Ends(batch.rows, died.copy(), outlived.copy(), length.astype(np.int32), names[cause])
