"""The contract of an engine: seats agents, then decides for any of them; some engines write texts as well.

Owns the data that crosses the seam, and `decide_each`, which finds the row that breaks an engine. An engine has no
randomness of its own: each decision brings a uniform number from its episode's seed, so that who shares a batch cannot
change a life. To add an engine, derive from `Engine` in a new file and name it in YAML.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.agent import Agent
from fitness.checks import check_integer, check_number
from fitness.errors import ConfigError, EngineError, describe
from fitness.records import Answers

_PATIENCE = 8
"""Broken calls for one agent in one step, after which its rows are no longer taken apart: it is not one row's fault."""
_PATIENCE_WITH_ALL = 64
"""Broken calls in one step, after which what breaks is no longer taken apart: it is no agent's fault."""


@dataclass(frozen=True)
class Decisions:
    """What n agents chose."""

    actions: NDArray[np.int64]
    """[n] index into the environment's action names; where an answer could not be read, of the idle one."""
    log_probabilities: NDArray[np.float32]
    """[n, actions] of each named action, after temperature; each row sums to 1 in probability. [n, 1] of the whole
    answer where agents decide in words."""
    prompt_tokens: NDArray[np.int64]
    """[n] tokens of strategy and observation together."""
    answers: Answers | None = None
    """[n] what was written; None where agents choose among names."""

    @property
    def taken(self) -> NDArray[np.float32]:
        """[n] log-probability of what was done."""
        place = self.actions if self.answers is None else np.zeros_like(self.actions)
        return self.log_probabilities[np.arange(len(place)), place]


@dataclass(frozen=True)
class Usage:
    """What an engine has spent since it was made."""

    decisions: int = 0
    forward_flops: float = 0.0
    """Multiply-adds counted as two, of tokens that were really computed."""
    model_seconds: float = 0.0
    """Wall-clock seconds inside the model."""
    written_tokens: int = 0
    """Tokens that were generated."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One text to write.

    Example: `Request(prompt="A wise strategy: ", stops=(".",), seed=7)`
    """

    prompt: str
    """All that the model reads, after the token that begins every text; not empty."""
    seat: int | None = None
    """Which seated agent lends its adapter (not its strategy); None: the base model."""
    limit: int = 64
    """Most tokens to write; at least 1."""
    stops: tuple[str, ...] = ()
    """Words that end the text and are cut off; none of them empty."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    seed: int = 0
    """Of this text's own chance, so that who shares a batch cannot change it; at least 0."""

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "stops", tuple(self.stops))
        if not self.prompt:
            raise ConfigError("prompt: expected a text, got an empty one")
        if not all(self.stops):
            raise ConfigError("stops: expected words, got an empty one")
        if self.seat is not None:
            check_integer("seat", self.seat, 0)
        check_integer("limit", self.limit, 1)
        check_number("temperature", self.temperature, 0.0)
        check_integer("seed", self.seed, 0)


@dataclass(frozen=True)
class Written:
    """What was written for n requests, in their order.

    Example: `Written(texts=("eat",), tokens=((17, 4),), log_probabilities=((-0.2, -1.5),), ends=("stop",),
        prompt_tokens=(5,))`
    """

    texts: tuple[str, ...]
    """Without the stop word and special tokens."""
    tokens: tuple[tuple[int, ...], ...]
    """Exactly as sampled, those of the stop word and of the end included."""
    log_probabilities: tuple[tuple[float, ...], ...]
    """Of each token under the distribution that it was drawn from; at temperature 0, of the one at temperature 1."""
    ends: tuple[str, ...]
    """"stop" (a stop word), "eos" (the model's own end) or "limit" (of tokens, or of what the model can read)."""
    prompt_tokens: tuple[int, ...]
    """That were read."""

    def __len__(self) -> int:
        """Return the number of texts n."""
        return len(self.texts)


class Engine(ABC):
    """Decides for a seated population."""

    @abstractmethod
    def seat(self, agents: Sequence[Agent]) -> None:
        """Make `agents` ready; seat i is `agents[i]` until the next call."""

    @abstractmethod
    def decide(self, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]) -> Decisions:
        """Choose one action per row.

        Args:
            seats: [n] which seated agent decides.
            observations: n texts.
            uniforms: [n] numbers in [0, 1) from each episode's own seed.
        """

    @abstractmethod
    def decide_again(
        self, agents: Sequence[Agent], observations: Sequence[str], tokens: Sequence[Sequence[int]] | None = None
    ) -> NDArray[np.float32]:
        """Return the log-probabilities [P, actions] of agents, an observation each: no seats, and nothing kept.

        What `decide` answers for them must be the same but for rounding (`fitness.audit`).

        Args:
            agents: P agents.
            observations: P texts.
            tokens: P answers, as the tokens that they were sampled as: returned are the log-probabilities [P, 1] of
                these; None for the actions' names, which agents that decide in words can be asked about as well.
        """

    def generate(self, requests: Sequence[Request]) -> Written:
        """Write a text for every request; an engine may leave this out.

        Raises:
            EngineError: the engine cannot write, or a seat is empty.
        """
        del requests
        raise EngineError(f"engine: expected one that can write, got {type(self).__name__}, which chooses only")

    @property
    @abstractmethod
    def usage(self) -> Usage:
        """What has been spent so far."""

    @property
    def rounding(self) -> float:
        """Largest difference between two ways to the same log-probability that is no mistake."""
        return 1e-3

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """Let go of what does not end by itself."""

    def take_faults(self) -> tuple[str, ...]:
        """Return what broke since the last call and was mended by the engine itself, one sentence each."""
        return ()


def decide_each(
    engine: Engine, seats: NDArray[np.int64], observations: Sequence[str], uniforms: NDArray[np.float64]
) -> tuple[Decisions, NDArray[np.object_]]:
    """Decide for n rows; where the engine breaks, for one half of the agents, then the other; at last, of the rows.

    Returns:
        The decisions, action 0 where there is none; and [n] why there is none, "" where there is one.
    """
    errors = np.full(len(seats), "", object)
    patience: dict[int, int] = {}
    broken = [0]

    def decide(rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Decisions]]:
        try:
            texts = [observations[row] for row in rows]
            return [(rows, _checked(engine.decide(seats[rows], texts, uniforms[rows]), len(rows)))]
        except Exception as error:  # noqa: BLE001 - an engine may be anybody's, and raise anything
            owners, reason = np.unique(seats[rows]), describe(error)
        broken[0] += 1
        if broken[0] > _PATIENCE_WITH_ALL:
            errors[rows] = reason
            return []
        if len(owners) > 1:
            first = seats[rows] < owners[len(owners) // 2]
            return [pair for half in (rows[first], rows[~first]) for pair in decide(half)]
        left = patience[owners[0]] = patience.get(owners[0], _PATIENCE) - 1
        if len(rows) == 1 or left <= 0:
            errors[rows] = reason
            return []
        return [pair for half in np.array_split(rows, 2) for pair in decide(half)]

    parts = decide(np.arange(len(seats)))
    if len(parts) == 1 and len(parts[0][0]) == len(seats):
        return parts[0][1], errors
    names = max((part.log_probabilities.shape[1] for _, part in parts), default=1)
    actions, tokens = np.zeros(len(seats), np.int64), np.zeros(len(seats), np.int64)
    log_probs = np.zeros((len(seats), names), np.float32)
    for rows, part in parts:
        actions[rows], log_probs[rows], tokens[rows] = part.actions, part.log_probabilities, part.prompt_tokens
    return Decisions(actions, log_probs, tokens, _answers(parts, len(seats))), errors


def _answers(parts: Sequence[tuple[NDArray[np.int64], Decisions]], count: int) -> Answers | None:
    """Return the answers of all rows, empty ones where there is none."""
    written = [(rows, part.answers) for rows, part in parts if part.answers is not None]
    if not written:
        return None
    whole = Answers.of([()] * count, [()] * count, [False] * count)
    for rows, answers in written:
        whole.tokens[rows], whole.log_probabilities[rows] = answers.tokens, answers.log_probabilities
        whole.readable[rows] = answers.readable
    return whole


def _checked(decisions: Decisions, count: int) -> Decisions:
    """Return the decisions if they are some."""
    scores = np.asarray(decisions.log_probabilities)
    if scores.ndim != 2 or len(scores) != count or not np.isfinite(scores).all():
        raise ValueError(f"expected finite log-probabilities of {count} rows, got some of shape {scores.shape}")
    for name in ("actions", "prompt_tokens"):
        shape = np.shape(getattr(decisions, name))
        if shape != (count,):
            raise ValueError(f"expected {count} {name}, got shape {shape}")
    if decisions.answers is not None:
        if len(decisions.answers) != count or scores.shape[1] != 1:
            raise ValueError(f"expected {count} answers, got {len(decisions.answers)}")
    elif not ((decisions.actions >= 0) & (decisions.actions < scores.shape[1])).all():
        raise ValueError(f"expected actions below {scores.shape[1]}, got {decisions.actions.max()}")
    return decisions


def draw(log_probabilities: NDArray[np.float32], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pick [n] actions whose slices of the cumulative distribution [n, actions] hold the uniform numbers [n]."""
    cumulative = np.cumsum(np.exp(log_probabilities.astype(np.float64)), axis=1)
    picked = (uniforms[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return np.asarray(np.minimum(picked, log_probabilities.shape[1] - 1), np.int64)
