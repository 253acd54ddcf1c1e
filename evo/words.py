"""A command line that mixes a command's own `field=value` words with overrides of runs.

Owns telling the two apart: a word that names a field of the command's dataclass is its own, every other word goes to
the runs. To give a command another word, add a field to its dataclass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import yaml

from evo.fields import fit
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Words:
    """A command line, told apart.

    Example: `Words(own={"seeds": 3}, rest=("tracking=none",))`
    """

    own: dict[str, Any]
    """Fields of the command, of their types."""
    rest: tuple[str, ...]
    """For the runs, in their order."""


def tell_apart(kind: type, words: Sequence[str], besides: str = "overrides") -> Words:
    """Return which words set fields of `kind`, and the rest.

    Args:
        kind: a dataclass.
        words: as they were typed.
        besides: the field of `kind` that holds the rest, which no word sets.

    Raises:
        ConfigError: a field is of a wrong kind.
    """
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name != besides}
    own: dict[str, Any] = {}
    rest: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in hints:
            rest.append(word)
            continue
        try:
            own[name] = fit(yaml.safe_load(text), hints[name])
        except (TypeError, yaml.YAMLError) as error:
            raise ConfigError(f"{name}: {error}") from error
    return Words(own=own, rest=tuple(rest))
