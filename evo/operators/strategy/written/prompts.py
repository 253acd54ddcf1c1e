"""What is said to the model, and how its answers are read.

Owns the words and their reading, nothing of what becomes of them. All text that comes from genes is a clause that the
grammar admits, so it holds no line break and no special token.
"""

from evo.operators.strategy.base import Genes
from fitness.environments.grammar import LONGEST_SENTENCE, Grammar, Slot
from fitness.errors import StrategyError

_LONGEST_ANSWER = 10_000
"""Characters that are looked at."""
_QUOTES = " \t\"'`*-"
"""What models put around an answer."""


def ask_clause(genes: Genes, place: int, grammar: Grammar) -> str:
    """Return the end of a prompt that wants a new clause for the slot at `place`."""
    slot, clause = grammar.slots[place], genes[place]
    wanted = f"Replace this clause: {clause}" if clause else "Add one clause."
    return f"Strategy: {grammar.render(genes)}\n{wanted}\n{_choices(slot, clause)}\nNew clause:"


def ask_child(first: Genes, second: Genes, grammar: Grammar) -> str:
    """Return the end of a prompt that wants a child of two strategies."""
    closed = [f"{slot.name}: {' | '.join(slot.clauses)}" for slot in grammar.slots[: grammar.closed]]
    free = len(grammar.slots) - grammar.closed
    form = ["One clause of each line, in this order, each with a full stop:", *closed] if closed else []
    form += [f"{'Then at' if closed else 'At'} most {free} plain sentences of your own."] if free else []
    parents = [f"First parent: {grammar.render(first)}", f"Second parent: {grammar.render(second)}"]
    return "\n".join([*form, *parents, "Child:"])


def read_clause(genes: Genes, place: int, grammar: Grammar, text: str) -> Genes | None:
    """Return the genes with the clause that `text` begins with at `place`; None if it is unusable or nothing new."""
    slot = grammar.slots[place]
    said = _first_line(text).split(".")[0].strip(_QUOTES)
    clause = {known.casefold(): known for known in slot.clauses}.get(said.casefold(), said)
    there = genes[grammar.closed :] if slot.free else genes[place : place + 1]
    if not clause or clause in there or not slot.admits(clause):
        return None
    return (*genes[:place], clause, *genes[place + 1 :])


def read_child(grammar: Grammar, text: str) -> Genes | None:
    """Return the genes of the strategy that `text` begins with; None if it does not follow the grammar or is empty."""
    try:
        genes = grammar.parse(_first_line(text))
    except StrategyError:
        return None
    return genes if any(genes) else None


def _choices(slot: Slot, clause: str) -> str:
    """Say what the slot may hold instead of `clause`."""
    if slot.free:
        return f"It must be one plain sentence of at most {LONGEST_SENTENCE} characters."
    return f"It must be one of: {' | '.join(other for other in slot.clauses if other != clause)}"


def _first_line(text: str) -> str:
    """Return the first line that holds something, without quotes around it."""
    lines = (line.strip(_QUOTES) for line in text[:_LONGEST_ANSWER].splitlines())
    return next((line for line in lines if line), "")
