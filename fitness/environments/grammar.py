"""Strategies as clauses in named slots: what evolution recombines and what agents are told.

Owns the text form (`"flee wolves near. eat when low."`) and its parser. Each environment brings its own `Grammar`;
the clauses' meaning to a scripted policy stays with the environment. Slots are of two kinds:

* *closed* slots, which always hold one of their own clauses;
* *free* slots, the last ones if there are any: each is empty ("") or holds any one sentence, so that a genome of fixed
  length carries up to that many sentences of its own, in an order of its own. Full ones come before empty ones. Empty
  ones leave no trace in the text. `free_grammar` has nothing but free slots: strategies of general models.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fitness.errors import StrategyError, nearest

LONGEST_SENTENCE = 120
"""Characters of a clause in a free slot."""
_SENTENCE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ,;:'()!?/%+-]*[A-Za-z0-9'()!?%])?")
"""Plain English: no full stop, which ends a clause, and nothing that could be a line, a tag or a special token."""
_LONGEST_QUOTE = 120


@dataclass(frozen=True)
class Slot:
    """One decision that a strategy makes, and the clauses that can make it."""

    name: str
    clauses: tuple[str, ...]
    """All that a closed slot can hold; of a free one, what chance can put there."""
    free: bool = False
    """Whether it may also be empty, or hold any other sentence."""

    def admits(self, clause: str) -> bool:
        """Tell whether the slot may hold `clause`."""
        return clause in self.clauses or (self.free and (not clause or is_sentence(clause)))


@dataclass(frozen=True)
class Grammar:
    """An ordered set of slots; a strategy has one clause for each.

    Example: `Grammar((Slot("eat", ("eat when low", "eat when fair")),)).parse("eat when low.") == ("eat when low",)`
    """

    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        """Refuse free slots whose sentences could not be read back.

        Raises:
            StrategyError: a free slot stands before a closed one, differs from another one, or has a clause that is no
                sentence.
        """
        free = self.slots[self.closed :]
        if any(slot.free for slot in self.slots[: self.closed]):
            raise StrategyError("slots: expected free slots after all closed ones, got one before")
        if len({slot.clauses for slot in free}) > 1:
            raise StrategyError("slots: expected free slots with the same clauses, since their places change")
        wrong = [clause for slot in free for clause in slot.clauses if not is_sentence(clause)]
        if wrong:
            raise StrategyError(f"slots: expected plain sentences without a full stop, got {_short(wrong[0])}")

    @property
    def closed(self) -> int:
        """Number of closed slots; the free ones follow."""
        return sum(not slot.free for slot in self.slots)

    def random(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Draw one clause per slot, each equally likely; a free slot is empty as often as it holds any one clause."""
        choices = [("", *slot.clauses) if slot.free else slot.clauses for slot in self.slots]
        return tidy(clauses[rng.integers(len(clauses))] for clauses in choices)

    def render(self, clauses: tuple[str, ...]) -> str:
        """Return the text that agents read."""
        return " ".join(f"{clause}." for clause in clauses if clause)

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the clauses of a strategy text, in slot order.

        Raises:
            StrategyError: a clause is unknown, missing or one too many.
        """
        given = tuple(part.strip() for part in text.strip().rstrip(".").split("."))
        count, closed = len(self.slots), self.closed
        if closed < count:
            given = tuple(part for part in given if part)
            given += ("",) * (count - len(given) if len(given) >= closed else 0)
        if len(given) != count:
            names = ", ".join(slot.name for slot in self.slots)
            least = "" if closed == count else f"{closed} to "
            raise StrategyError(
                f"strategy: expected {least}{count} clauses ({names}), got {len(given)} in {_short(text)}"
            )
        for slot, clause in zip(self.slots, given, strict=True):
            if not slot.admits(clause):
                raise StrategyError(_refusal(slot, clause))
        return given


def free_grammar(clauses: Iterable[str] = (), most: int = 8) -> Grammar:
    """Return the grammar of strategies of up to `most` sentences of any kind; `clauses` are what chance can insert.

    Example: `free_grammar(most=3).parse("drink early. trust no wolf.") == ("drink early", "trust no wolf", "")`
    """
    known = tuple(clauses)
    return Grammar(tuple(Slot(f"sentence {i + 1}", known, free=True) for i in range(most)))


def tidy(genes: Iterable[str]) -> tuple[str, ...]:
    """Return the genes with empty ones last, as `Grammar.parse` returns them; without empty ones, as they are."""
    return tuple(sorted(genes, key=lambda clause: not clause))


def is_sentence(text: str) -> bool:
    """Tell whether a free slot may hold `text`: one line of plain English, not too long and without a full stop."""
    return len(text) <= LONGEST_SENTENCE and bool(_SENTENCE.fullmatch(text))


def _refusal(slot: Slot, clause: str) -> str:
    """Say why a slot does not admit a clause."""
    if slot.free:
        return (
            f"strategy.{slot.name}: expected a plain sentence of at most {LONGEST_SENTENCE} characters, "
            f"got {_short(clause)}"
        )
    valid = ", ".join(repr(c) for c in slot.clauses)
    return f"strategy.{slot.name}: expected one of {valid}, got {_short(clause)}{nearest(clause, slot.clauses)}"


def _short(text: str) -> str:
    """Return a text as it is quoted in a message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")
