"""Decisions as rows of text for other trainers, and the proof that the text tokenises to what was acted on.

Owns the prompt as one text, and the two forms of rows: text where the tokenizer gives the same tokens for one piece as
for the pieces that the engine encodes apart (`fitness.model.Prompts`), else token ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evo.export.lives import Decision, Preference
from fitness.errors import OutputError
from fitness.model import Prompts

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Reading:
    """A decision as text and as tokens."""

    prompt: str
    completion: str
    read: list[int]
    """Tokens of the prompt, as the engine puts them together."""
    done: list[int]
    """Tokens of the action."""
    exact: bool
    """Whether a tokenizer that is given the texts makes those tokens of them."""


class Rows:
    """Makes rows of decisions; all of one file have one form.

    Example: `Rows(prompts, {7: "eat when low."}).completions(decisions)`
    """

    def __init__(self, prompts: Prompts, strategies: Mapping[int, str]) -> None:
        """Take the prompts of the environment and model, and each genome's strategy."""
        self._prompts, self._strategies = prompts, strategies
        self._prefixes = dict(zip(strategies, prompts.prefixes(list(strategies.values())), strict=True))
        names = [f" {name}" for name in prompts.action_names]
        done = prompts.tokenizer(names, add_special_tokens=False)["input_ids"]
        self._actions = dict(zip(prompts.action_names, done, strict=True))

    def completions(self, decisions: Sequence[Decision]) -> list[Row]:
        """Return `prompt` and `completion`, or `input_ids` and `completion_mask` if text would not be exact.

        Raises:
            OutputError: the prompts are not those of the run.
        """
        readings = self._read(decisions)
        if all(reading.exact for reading in readings):
            return [{"prompt": one.prompt, "completion": one.completion} for one in readings]
        return [
            {
                "input_ids": [*one.read, *one.done],
                "completion_mask": [0] * len(one.read) + [1] * len(one.done),
            }
            for one in readings
        ]

    def preferences(self, pairs: Sequence[Preference]) -> list[Row]:
        """Return `prompt`, `chosen` and `rejected`, or the same as `_ids` if text would not be exact.

        Raises:
            OutputError: the prompts are not those of the run.
        """
        both = list(zip(*(self._read(_answered(pairs, name)) for name in ("chosen", "rejected")), strict=True))
        if all(one.exact and other.exact for one, other in both):
            return [{"prompt": o.prompt, "chosen": o.completion, "rejected": other.completion} for o, other in both]
        return [{"prompt_ids": o.read, "chosen_ids": o.done, "rejected_ids": other.done} for o, other in both]

    def _read(self, decisions: Sequence[Decision]) -> list[_Reading]:
        """Return texts and tokens of decisions."""
        texts = [(self._prompt(one), f" {one.action}") for one in decisions]
        rows = self._prompts.rows([one.observation for one in decisions])
        alone = self._encode([prompt for prompt, _ in texts])
        together = self._encode([prompt + completion for prompt, completion in texts])
        readings = []
        for one, (prompt, completion), row, start, whole in zip(decisions, texts, rows, alone, together, strict=True):
            read, done = [*self._prefixes[one.genome], *row], one.answer or self._actions[one.action]
            if len(read) != one.prompt_tokens:
                raise OutputError(
                    f"model: expected the prompts that the run's agents read, of {one.prompt_tokens} tokens, got "
                    f"{len(read)}: the model, its tokenizer or the environment is not the run's any more"
                )
            same = whole[: len(read) + len(done)] == [*read, *done] and _shared(start, whole) == len(read)
            exact = same and not one.answer  # what was said in words is trained on as the tokens that were sampled
            readings.append(_Reading(prompt, completion, read, list(done), exact))
        return readings

    def _prompt(self, decision: Decision) -> str:
        """Return all that was read before a decision as one text, but for a token of beginning that tokenizers add."""
        head = f"{self._prompts.manual}\n\n" if self._prompts.manual else ""
        return f"{head}{self._strategies[decision.genome]}\n{decision.observation}{self._prompts.suffix}"

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode whole texts as trainers do."""
        ids: list[list[int]] = self._prompts.tokenizer(list(texts))["input_ids"] if texts else []
        return ids


def _answered(pairs: Sequence[Preference], name: str) -> list[Decision]:
    """Return the `chosen` or the `rejected` answers as decisions."""
    return [
        Decision(
            genome=pair.genome,
            observation=pair.observation,
            action=getattr(pair, name),
            prompt_tokens=pair.prompt_tokens,
            answer=getattr(pair, f"{name}_answer"),
        )
        for pair in pairs
    ]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens two texts share; there TRL lets the completion begin."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
