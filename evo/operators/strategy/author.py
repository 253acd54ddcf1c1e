"""Who writes for operators: one batch of texts for a whole population, and an account of it.

Owns how drafts (`base.py`) are taken forward together, and `Writing`, what it cost and how often it was of no use. The
engine behind an `Author` is anybody's that has `generate`; operators never see it. The loop keeps one author per run,
hands it to whatever breeds (`Support`), and takes its account once a generation:

    author = Author(engine)
    children = variation.breed(couples, next_id, generation, grammar, rng, Support(author=author))
    writing = author.take()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evo.operators.strategy.base import Ask, Draft, Genes
from fitness.engines.base import Request, Written
from fitness.errors import ConfigError


class Writes(Protocol):
    """Every engine that can write."""

    def generate(self, requests: Sequence[Request]) -> Written:
        """Write a text for every request; see `fitness.engines.base.Engine.generate`."""


@dataclass(frozen=True)
class Writing:
    """What was written for operators."""

    asked: int = 0
    """Texts asked for."""
    fallbacks: int = 0
    """Texts that were unusable, so that the grammar's operator took over."""
    prompt_tokens: int = 0
    """Tokens read."""
    written_tokens: int = 0
    """Tokens generated."""


class Author:
    """Has an engine write, and keeps count.

    Example: `Author(PopulationEngine(...))`
    """

    def __init__(self, engine: Writes) -> None:
        """Write with `engine`."""
        self._engine, self._writing = engine, Writing()

    def answer(self, asks: Sequence[Ask]) -> list[Genes | None]:
        """Return what each answer stands for, None for one of no use; all are written in one batch.

        A sentence that the token limit cut short is left out of the answer.

        Raises:
            EngineError: the engine broke or cannot write; that is no answer's fault, and is not made up for.
        """
        written = self._engine.generate([ask.request for ask in asks])
        answers = [ask.read(text) for ask, text in zip(asks, map(_whole, written.texts, written.ends), strict=True)]
        so_far = self._writing
        self._writing = Writing(
            asked=so_far.asked + len(asks),
            fallbacks=so_far.fallbacks + answers.count(None),
            prompt_tokens=so_far.prompt_tokens + sum(written.prompt_tokens),
            written_tokens=so_far.written_tokens + sum(map(len, written.tokens)),
        )
        return answers

    def take(self) -> Writing:
        """Return the account since the last call."""
        taken, self._writing = self._writing, Writing()
        return taken


def _whole(text: str, end: str) -> str:
    """Return the sentences of a text that were finished."""
    return text[: text.rfind(".") + 1] if end == "limit" else text


def together(drafts: Sequence[Draft], author: Author | None) -> list[Genes]:
    """Return the genes of all drafts, in their order.

    Each draft goes as far as its first question before the next one begins; then all questions are answered at once,
    and so on.

    Args:
        drafts: none of them begun.
        author: who answers; None if nobody will ask.

    Raises:
        ConfigError: somebody asks, and there is no author.
    """
    made: dict[int, Genes] = {}
    answers: dict[int, Genes | None] = dict.fromkeys(range(len(drafts)))
    while answers:
        asks: dict[int, Ask] = {}
        for place, answer in answers.items():
            try:
                asks[place] = drafts[place].send(answer)
            except StopIteration as end:
                made[place] = end.value
        if asks and author is None:
            raise ConfigError("variation: expected an author for the operators that write (an engine), got none")
        answers = dict(zip(asks, author.answer(list(asks.values())), strict=True)) if asks and author else {}
    return [made[place] for place in range(len(drafts))]
