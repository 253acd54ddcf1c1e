"""Fits plain YAML values to the annotations of the fields that they are meant for.

Owns the few types that a configuration knows: numbers, texts, truth values, paths, choices, lists and mappings of
these. Does not own ranges: a component checks those itself in `__post_init__`. To support another type, add a branch to
`fit` and its plain name to `describe`.
"""

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from fitness.errors import nearest

PLAIN_NAMES: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    types.NoneType: "null",
}


def fit(value: Any, hint: Any) -> Any:
    """Return `value` as the type `hint` asks for: whole numbers become floats, lists tuples, texts paths, nothing else.

    Args:
        value: What YAML or the command line gave, or a component that is already made.
        hint: A type annotation; one that is not understood lets every value through.

    Raises:
        TypeError: The value does not fit; the message says what was expected and given.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _fit_union(value, hint)
    if origin is Literal:
        return _fit_choice(value, hint)
    if origin in (tuple, list, Sequence):
        return _fit_sequence(value, hint)
    if origin in (dict, Mapping):
        return _fit_mapping(value, hint)
    return _fit_plain(value, hint)


def describe(hint: Any) -> str:
    """Return the type annotation `hint` in plain words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (tuple, list, Sequence):
        return f"a list of {describe(arguments[0])}" if len(set(arguments) - {...}) == 1 else "a list"
    if origin in (dict, Mapping):
        return "a mapping"
    return PLAIN_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _fit_union(value: Any, hint: Any) -> Any:
    # The exact type goes first, so that `float | int` leaves a whole number whole.
    for member in sorted(get_args(hint), key=lambda member: type(value) is not member):
        try:
            return fit(value, member)
        except TypeError:
            continue
    raise _misfit(value, hint)


def _fit_choice(value: Any, hint: Any) -> Any:
    choices = get_args(hint)
    if value in choices:
        return value
    raise TypeError(f"expected {describe(hint)}, given {value!r}{nearest(str(value), map(str, choices))}")


def _fit_sequence(value: Any, hint: Any) -> Any:
    arguments = get_args(hint)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _misfit(value, hint)
    fixed = get_origin(hint) is tuple and ... not in arguments
    if fixed and len(value) != len(arguments):
        raise TypeError(f"expected a list of {len(arguments)}, given {value!r}")
    members = arguments if fixed else [arguments[0]] * len(value)
    fitted = [fit(item, member) for item, member in zip(value, members, strict=True)]
    return fitted if get_origin(hint) is list else tuple(fitted)


def _fit_mapping(value: Any, hint: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _misfit(value, hint)
    key_hint, item_hint = get_args(hint)
    return {fit(key, key_hint): fit(item, item_hint) for key, item in value.items()}


def _fit_plain(value: Any, hint: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint not in PLAIN_NAMES and not _is_component(hint):
        return value
    wrong_number = isinstance(value, bool) and hint is int
    if wrong_number or not isinstance(value, hint):
        raise _misfit(value, hint)
    return value


def _is_component(hint: Any) -> bool:
    return isinstance(hint, type) and hint is not Any and not getattr(hint, "_is_protocol", False)


def _misfit(value: Any, hint: Any) -> TypeError:
    return TypeError(f"expected {describe(hint)}, given {value!r}")
