"""What a rollout leaves behind: whole episodes and single decisions as structs of arrays, and lives to be looked at.

Owns the dataclasses that travel from the rollout to telemetry, objectives, fine-tuning and reports. Does not own how
they are made (fitness/rollout.py, fitness/replay.py) or stored (fitness/telemetry.py). To record one more thing about
an episode or a decision, add an array here and a column of the same meaning in fitness/telemetry.py, and raise the
schema version there.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

ENDS = ("died", "outlived", "failed")
"""The three ends of an episode; never merged."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """n finished episodes.

    Example: `Episodes(agent=[7], seed=[3], length=[41], end=["died"], cause=["thirst"], error=[""])`, each as an array.
    """

    agent: NDArray[np.int64]
    """[n] ids of the agents that lived."""
    seed: NDArray[np.int64]
    """[n] seeds of the worlds they lived in."""
    length: NDArray[np.int32]
    """[n] decisions taken, at least 0: the lifespan."""
    end: NDArray[np.object_]
    """[n] "died", "outlived" (the horizon) or "failed" (our fault)."""
    cause: NDArray[np.object_]
    """[n] what an agent died of; "" if it did not die."""
    error: NDArray[np.object_]
    """[n] what broke in a failed episode; "" otherwise."""

    def __post_init__(self) -> None:
        """Check that all fields have one row per episode.

        Raises:
            ValueError: A field has another length than `agent`, or an end is not one of `ENDS`.
        """
        _check_rows(self)
        wrong = sorted({str(end) for end in self.end} - set(ENDS))
        if wrong:
            raise ValueError(f"episodes.end: expected one of {', '.join(ENDS)}, got {wrong[0]!r}")

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.agent)


@dataclass(frozen=True)
class Fault:
    """Something that broke, and that siblings did not notice."""

    reason: str
    """One sentence; what broke comes first."""
    times: int
    """How often."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What was written in m decisions that agents took in words.

    Example: `Answers.of(tokens=[(17, 4)], log_probabilities=[(-0.2, -1.5)], readable=[True])`
    """

    tokens: NDArray[np.object_]
    """[m] tuples of token ids exactly as sampled, those of the stop word and of the end included."""
    log_probabilities: NDArray[np.object_]
    """[m] tuples: of each token under the distribution that it was drawn from, after temperature."""
    readable: NDArray[np.bool_]
    """[m] whether the text named an action; if not, the environment's idle one was taken."""

    @classmethod
    def of(
        cls, tokens: Sequence[Sequence[int]], log_probabilities: Sequence[Sequence[float]], readable: Sequence[bool]
    ) -> "Answers":
        """Return the answers of plain sequences."""
        return cls(_ragged(tokens), _ragged(log_probabilities), np.array(readable, bool))

    @classmethod
    def join(cls, parts: Sequence["Answers"]) -> "Answers":
        """Put parts one after another."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self.readable)

    def __getitem__(self, rows: NDArray[Any]) -> "Answers":
        """Return some of them."""
        return Answers(self.tokens[rows], self.log_probabilities[rows], self.readable[rows])


@dataclass(frozen=True, eq=False)
class Transitions:
    """m decisions, ordered by (agent, seed, step).

    Example: with m = 1 and two vitals, `vitals` is `[[0.8, 0.4]]` and every other field is an array of one value.
    """

    agent: NDArray[np.int64]
    """[m] ids of the agents that decided."""
    seed: NDArray[np.int64]
    """[m] seeds of their worlds."""
    step: NDArray[np.int32]
    """[m] how many decisions of the same episode came before."""
    observation: NDArray[np.object_]
    """[m] the text that the agent was shown."""
    action: NDArray[np.int16]
    """[m] index into the environment's action names."""
    log_probability: NDArray[np.float32]
    """[m] of the action taken, natural logarithm, after temperature; of an answer in words, the sum over its tokens."""
    reward: NDArray[np.float32]
    """[m] given for the step that the action caused."""
    vitals: NDArray[np.float32]
    """[m, k] the agent's vital signs before it acted, in the order of the environment's vital names."""
    alive: NDArray[np.bool_]
    """[m] whether the agent was alive after the step."""
    prompt_tokens: NDArray[np.int32]
    """[m] tokens of strategy and observation together."""
    answers: Answers | None = None
    """[m] what was written; None where agents chose among the actions' names."""

    def __post_init__(self) -> None:
        """Check that all fields have one row per decision.

        Raises:
            ValueError: A field has another length than `agent`, or `vitals` is not a matrix.
        """
        _check_rows(self)
        if self.vitals.ndim != 2:
            raise ValueError(f"transitions.vitals: expected shape [m, vitals], got {self.vitals.shape}")

    def __len__(self) -> int:
        """Return the number of decisions."""
        return len(self.agent)


COLOURS = ("ink", "grey", "blue", "orange", "green", "purple", "red", "brown", "teal", "pink")
"""Of signs; a page has a light and a dark shade of each."""


@dataclass(frozen=True)
class Sign:
    """What may stand in a cell of a world's map.

    Example: `Sign("~", "pond", "blue")`
    """

    mark: str
    """One character."""
    name: str
    """In a word or two."""
    colour: str = "ink"
    """One of `COLOURS`."""

    def __post_init__(self) -> None:
        """Check the mark and the colour.

        Raises:
            ValueError: The mark is no single printable character, or the colour is not one of `COLOURS`.
        """
        if len(self.mark) != 1 or not self.mark.isprintable():
            raise ValueError(f"sign.mark: expected one printable character, got {self.mark!r}")
        if self.colour not in COLOURS:
            raise ValueError(f"sign.colour: expected one of {', '.join(COLOURS)}, got {self.colour!r}")


@dataclass(frozen=True, eq=False)
class Replay:
    """One life to be looked at: t decisions, and how all stood after the last of them."""

    title: str
    """Why this one."""
    agent: int
    """Its id."""
    seed: int
    """Of its world."""
    end: str
    """One of `ENDS`."""
    cause: str
    """What it died of; "" if it did not die."""
    observation: tuple[str, ...]
    """t + 1 texts."""
    action: NDArray[np.int16]
    """[t] index into the environment's action names."""
    probabilities: NDArray[np.float32]
    """[t, actions] that it would do each of them; rows sum to 1."""
    vitals: NDArray[np.float32]
    """[t + 1, k] in the order of the environment's vital names."""
    picture: tuple[str, ...]
    """t + 1 maps, "" where the environment has none; see `TextVectorEnv.picture`."""


Table = TypeVar("Table", Episodes, Transitions)


def joined_episodes(parts: Sequence[Episodes], agents: Sequence[int]) -> Episodes:
    """Return episodes of several rollouts as one, by agent in the order of `agents`, then by seed."""
    episodes = _concatenated(Episodes, parts)
    return _taken(episodes, np.lexsort((episodes.seed, _places(episodes.agent, agents))))


def joined_transitions(parts: Sequence[Transitions], agents: Sequence[int]) -> Transitions:
    """Return decisions of several rollouts as one, by agent in the order of `agents`, then by seed and step."""
    made = _concatenated(Transitions, parts)
    return _taken(made, np.lexsort((made.step, made.seed, _places(made.agent, agents))))


def _places(ids: NDArray[np.int64], agents: Sequence[int]) -> NDArray[np.int64]:
    """Return the place of each id among the agents."""
    order = np.argsort(agents)
    return np.asarray(order[np.searchsorted(np.asarray(agents), ids, sorter=order)])


def _concatenated(kind: type[Table], parts: Sequence[Table]) -> Table:
    fields = [field.name for field in dataclasses.fields(kind)]
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return kind(**{name: _joined([getattr(part, name) for part in filled]) for name in fields})


def _joined(parts: Sequence[Any]) -> Any:
    if parts[0] is None:
        return None
    return Answers.join(parts) if isinstance(parts[0], Answers) else np.concatenate(parts)


def _taken(table: Table, rows: NDArray[np.int64]) -> Table:
    fields = [field.name for field in dataclasses.fields(table)]
    return type(table)(**{name: _some(getattr(table, name), rows) for name in fields})


def _some(values: Any, rows: NDArray[Any]) -> Any:
    return None if values is None else values[rows]


def _ragged(rows: Sequence[Sequence[Any]]) -> NDArray[np.object_]:
    """Return an array of tuples, which numpy would make a matrix of if they were equally long."""
    array = np.empty(len(rows), object)
    for place, row in enumerate(rows):
        array[place] = tuple(row)
    return array


def _check_rows(table: Episodes | Transitions) -> None:
    """Refuse a struct of arrays whose fields disagree about the number of rows."""
    expected = len(table.agent)
    for field in dataclasses.fields(table):
        values: NDArray[Any] | Answers | None = getattr(table, field.name)
        if values is not None and len(values) != expected:
            name = f"{type(table).__name__.lower()}.{field.name}"
            raise ValueError(f"{name}: expected {expected} rows as in agent, got {len(values)}")
