"""Keeps keys and tokens out of everything that is written or said.

Owns what counts as a secret: the value of an environment variable or of a configuration field whose name says so. Does
not own where texts go; `fitness.errors.describe` and `evo.cli` hide secrets in messages, `evo.build` in configurations.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_SAYS_SO = re.compile(r"(?:^|[_\-.])(?:api_?key|key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
_SHORTEST = 8
"""A shorter value is no key, and would be found in harmless words."""


def is_secret(name: str) -> bool:
    """Tell whether a field or variable of this name holds a secret."""
    return bool(_SAYS_SO.search(name))


def hide(text: str) -> str:
    """Return the text without the secrets of the environment."""
    for value in sorted(_known().values(), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def without_secrets(node: Any, name: str = "") -> Any:
    """Return plain values with `***` for secrets, or a reference where one came from the environment.

    A reference (`${oc.env:NAME}`) holds nothing and is resolved again when the configuration is read.
    """
    if isinstance(node, Mapping):
        return {key: without_secrets(value, str(key)) for key, value in node.items()}
    if isinstance(node, list):
        return [without_secrets(value, name) for value in node]
    if not isinstance(node, str) or not node:
        return node
    for variable, value in sorted(_known().items(), key=lambda pair: -len(pair[1])):
        node = node.replace(value, f"${{oc.env:{variable}}}")
    return HIDDEN if is_secret(name) and "${oc.env:" not in node else node


def _known() -> dict[str, str]:
    """Return the environment's secrets by name."""
    return {name: value for name, value in os.environ.items() if is_secret(name) and len(value) >= _SHORTEST}
