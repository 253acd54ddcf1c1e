"""The errors that callers can make or meet, named by the boundary that broke.

Owns the flat vocabulary of typed errors; every message says the field, what was expected and what was given.
To add one, derive from `ForagerError`: the command line turns any of them into one sentence and exit code 2.
"""

import difflib
from collections.abc import Iterable

from fitness.secrets import hide

_LONGEST = 300
"""Characters that are repeated of what somebody else's code says."""


class ForagerError(ValueError):
    """Base of every error that a user of Forager can cause and mend."""


class ConfigError(ForagerError):
    """A configuration field is unknown, missing or outside its range."""


class StrategyError(ForagerError):
    """A strategy text does not follow the environment's grammar."""


class AdapterError(ForagerError):
    """A LoRA adapter does not fit its model, its stack or PEFT's file format."""


class ModelError(ForagerError):
    """A base model cannot be found, loaded or used for choosing actions."""


class EngineError(ForagerError):
    """An engine was used before it was ready, or does not do what its agents' adapters ask."""


class OutputError(ForagerError):
    """A run folder cannot be written or does not hold what it should."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the valid name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def listed(items: Iterable[object], most: int = 3) -> str:
    """Return the items in one line, or the first few and how many more there are.

    Example: `listed([1, 2, 3, 4, 5])` is "1, 2, 3 and 2 more".
    """
    texts = [str(item) for item in items]
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def harmless(text: str) -> str:
    """Return the text with what no terminal shows (control characters, lone surrogates) as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def describe(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says, as one short sentence that no terminal obeys."""
    first = harmless(hide((str(error).strip().splitlines() or [""])[0]))[:_LONGEST]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
