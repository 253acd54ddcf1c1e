"""Deciding in words: how long an answer may be, and which action it names.

Owns the rule by which answers are read, which guesses nothing: the first word (letters, digits and "_", behind any
blanks, whatever its case) must be an action's name; what follows it has no say, and a text that begins otherwise stands
for the environment's idle action and is recorded as unreadable. Does not own how answers are computed
(`population.py`) or what ends them (`lines.py`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitness.engines.base import Decisions
from fitness.engines.config import Sayings
from fitness.engines.lines import Line
from fitness.environments.base import TextVectorEnv
from fitness.environments.chance import uniform
from fitness.errors import ConfigError
from fitness.records import Answers

Draw = Callable[[NDArray[np.int64], list[list[int]], NDArray[np.float64]], NDArray[np.float64]]
"""(which rows, the tokens so far of each, a number in [0, 1) for each) -> their next tokens and log-probabilities."""
_ANSWERS = 3_000
"""The stream of an answer's tokens, drawn from the number that its decision brings."""
_FIRST_WORD = re.compile(r"\s*(\w+)")


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How agents of one environment answer."""

    names: tuple[str, ...]
    """Of the actions, each one word."""
    idle: int
    """Index of the action that an unreadable answer stands for."""
    limit: int
    """Most tokens of an answer; at least 1."""
    stops: tuple[str, ...]
    """Words that end an answer once it has begun."""

    @classmethod
    def of(cls, env: TextVectorEnv | Sayings, limit: int, stops: tuple[str, ...]) -> "Wording":
        """Return that of an environment.

        Raises:
            ConfigError: no action stands for doing nothing.
        """
        if env.idle not in env.action_names:
            raise ConfigError(
                "engine.mode: expected choose, since the environment names no action that an unreadable answer could "
                f"stand for (`idle`, one of {', '.join(env.action_names)}), got generate"
            )
        return cls(names=tuple(env.action_names), idle=env.action_names.index(env.idle), limit=limit, stops=stops)

    def lines(self, count: int, tokenizer: Any, end_tokens: frozenset[int]) -> list[Line]:
        """Return answers to be written."""
        return [Line(tokenizer, end_tokens, self.limit, self.stops, ahead=False) for _ in range(count)]

    def read(self, text: str) -> int | None:
        """Return the index of the action that a text names, or None.

        Example: with the names north and eat, of " Eat, for I am hungry" it is 1, and of "I eat" or "eats" None.
        """
        word = _FIRST_WORD.match(text)
        named = {name.lower(): index for index, name in enumerate(self.names)}
        return named.get(word[1].lower()) if word else None

    def decide(self, lines: Sequence[Line], prompt_tokens: NDArray[np.int64]) -> Decisions:
        """Return what n finished answers come to, and how many tokens [n] were read before each."""
        named = [self.read(line.text()) for line in lines]
        actions = np.array([self.idle if one is None else one for one in named], np.int64)
        sums = np.array([[sum(line.log_probabilities)] for line in lines], np.float32)
        answers = Answers.of(
            [line.tokens for line in lines],
            [line.log_probabilities for line in lines],
            [one is not None for one in named],
        )
        return Decisions(actions, sums, prompt_tokens, answers)


def write_answers(
    lines: Sequence[Line], rows: Sequence[Sequence[int]], uniforms: NDArray[np.float64], draw: Draw
) -> None:
    """Write n answers to their ends, a token at a time for all that are not at theirs.

    What agents share, their strategies, need not be read again for each token; rows are, for answers are short.

    Args:
        lines: the answers.
        rows: tokens of what each answers.
        uniforms: [n] numbers in [0, 1); an answer's k-th number is a function of its own and of k.
        draw: draws next tokens.
    """
    keys, step = (uniforms * 2.0**53).astype(np.int64), 0
    while len(writing := np.array([i for i, line in enumerate(lines) if not line.end], np.int64)):
        texts = [[*rows[i], *lines[i].tokens] for i in writing]
        drawn = draw(writing, texts, uniform(keys[writing], step, _ANSWERS)[:, 0])
        for i, (token, log_prob) in zip(writing, drawn.tolist(), strict=True):
            lines[i].take(int(token), log_prob)
        step += 1
