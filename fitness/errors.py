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


def describe(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says, as one short sentence."""
    first = hide((str(error).strip().splitlines() or [""])[0])[:_LONGEST]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
