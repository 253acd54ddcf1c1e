"""Range checks that components share, so that every refusal reads the same.

Owns the wording "field: expected ..., got ..."; does not own which ranges are right: the component that has the field
says.
"""

import math
from collections.abc import Iterable

from fitness.errors import ConfigError, nearest

LARGEST_SEED = 2**32 - 1
"""Every generator of chance takes seeds up to this one."""


def check_integer(field: str, given: object, low: int, high: int | None = None, limit: str = "") -> None:
    """Refuse anything but an integer in [low, high].

    Args:
        field: name as the user writes it.
        given: the value to check.
        low: smallest allowed.
        high: largest allowed; None for no bound.
        limit: says where `high` comes from, such as "the population".

    Raises:
        ConfigError: `given` is no integer or out of range.
    """
    fits = isinstance(given, int) and not isinstance(given, bool) and given >= low and (high is None or given <= high)
    if not fits:
        upper = f" and at most {high}" if high is not None else ""
        origin = f" ({limit})" if limit else ""
        raise ConfigError(f"{field}: expected an integer of at least {low}{upper}{origin}, got {given!r}")


def check_number(field: str, given: object, low: float, high: float = math.inf) -> None:
    """Refuse anything but a finite number in [low, high].

    Raises:
        ConfigError: `given` is no number, not finite or out of range.
    """
    number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if not number or not low <= float(given) <= high:  # type: ignore[arg-type]
        expected = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise ConfigError(f"{field}: expected a number {expected}, got {given!r}")


def check_range(field: str, given: tuple[float, float], low: float, high: float = math.inf) -> None:
    """Refuse anything but a pair (smallest, largest) of finite numbers in [low, high], in this order.

    Raises:
        ConfigError: not a pair, not in order or out of range.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ConfigError(f"{field}: expected two numbers (smallest, largest), got {given!r}")
    check_number(f"{field}[0]", given[0], low, high)
    check_number(f"{field}[1]", given[1], given[0], high)


def check_choice(field: str, given: object, choices: Iterable[str]) -> None:
    """Refuse anything but one of the names.

    Raises:
        ConfigError: `given` is none of them; the message lists them and the nearest.
    """
    names = tuple(choices)
    if given not in names:
        hint = nearest(str(given), names)
        raise ConfigError(f"{field}: expected one of {', '.join(names)}, got {given!r}{hint}")
