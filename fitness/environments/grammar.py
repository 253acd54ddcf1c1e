"""Strategies as clauses in named slots: what evolution recombines and what agents are told.

Owns the text form (`"flee wolves near. eat when low."`) and its parser. Each environment brings its own `Grammar`;
the clauses' meaning to a scripted policy stays with the environment.
"""

from dataclasses import dataclass

import numpy as np

from fitness.errors import StrategyError, nearest

_LONGEST_QUOTE = 120


@dataclass(frozen=True)
class Slot:
    """One decision that a strategy makes, and the clauses that can make it."""

    name: str
    clauses: tuple[str, ...]


@dataclass(frozen=True)
class Grammar:
    """An ordered set of slots; a strategy has one clause for each.

    Example: `Grammar((Slot("eat", ("eat when low", "eat when fair")),)).parse("eat when low.") == ("eat when low",)`
    """

    slots: tuple[Slot, ...]

    def random(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Draw one clause per slot, each equally likely."""
        return tuple(slot.clauses[rng.integers(len(slot.clauses))] for slot in self.slots)

    def render(self, clauses: tuple[str, ...]) -> str:
        """Return the text that agents read."""
        return " ".join(f"{clause}." for clause in clauses)

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the clauses of a strategy text, in slot order.

        Raises:
            StrategyError: a clause is unknown, missing or one too many.
        """
        given = tuple(part.strip() for part in text.strip().rstrip(".").split("."))
        if len(given) != len(self.slots):
            names = ", ".join(slot.name for slot in self.slots)
            raise StrategyError(
                f"strategy: expected {len(self.slots)} clauses ({names}), got {len(given)} in {_short(text)}"
            )
        for slot, clause in zip(self.slots, given, strict=True):
            if clause not in slot.clauses:
                valid = ", ".join(repr(c) for c in slot.clauses)
                hint = nearest(clause, slot.clauses)
                raise StrategyError(f"strategy.{slot.name}: expected one of {valid}, got {_short(clause)}{hint}")
        return given


def _short(text: str) -> str:
    """Return a text as it is quoted in a message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")
