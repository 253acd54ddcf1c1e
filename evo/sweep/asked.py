"""Tells what a command line says once for all runs from what it gives several values.

Owns reading sweeps with Hydra's own parser: `seed=0,1`, `choice(a,b)`, `range(4,33,4)`, `interval(0.05,1)`,
`tag(log, ...)`, `glob(*)`. Does not own what becomes of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType, RangeSweep
from hydra.errors import HydraException

from evo.compose import CONF_FOLDER, known_groups, quoted
from fitness.errors import ConfigError

HYDRA = ("hydra.", "hydra/")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command line, told apart."""

    fixed: tuple[str, ...]
    """Overrides of every run."""
    swept: tuple[Override, ...]
    """Fields and groups with several values, each once."""


@contextmanager
def hydra_at_home() -> Iterator[Any]:
    """Yield Hydra's own object, which knows `conf/`."""
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3", job_name="forager"):
        yield GlobalHydra.instance().hydra


def tell_apart(words: Sequence[str]) -> Asked:
    """Return what is fixed and what is swept; inside `hydra_at_home`.

    Raises:
        ConfigError: a word cannot be read, sets one of Hydra's own fields to several values, or names a field again.
    """
    parser, groups = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()), known_groups()
    fixed: list[str] = []
    swept: dict[str, Override] = {}
    for text in map(quoted, words):
        override = _parse(parser, text)
        if not override.is_sweep_override() or override.is_delete():
            fixed.append(text)
            continue
        key = override.key_or_group
        if key.startswith(HYDRA) or override.package is not None:
            raise ConfigError(f"{key}: expected one value as field=value, given {text!r}")
        if key in swept:
            raise ConfigError(f"{key}: expected its values once, given {swept[key].input_line!r} and {text!r}")
        if isinstance(sweep := override.value(), ChoiceSweep | RangeSweep):
            sweep.shuffle = False  # the same runs in the same order, whenever the command is given
        if key not in groups:  # a component's own default is a field as well, whether YAML names it or not
            override.type = OverrideType.FORCE_ADD
        swept[key] = override
    _refuse_both(fixed, swept)
    return Asked(fixed=tuple(fixed), swept=tuple(swept.values()))


def plain(text: str) -> str:
    """Return an override without the sign that tells Hydra to set what YAML does not name."""
    return text.lstrip("+")


def values(override: Override) -> list[str]:
    """Return the values of a choice or a range, each as it may stand behind `field=`."""
    return list(override.sweep_string_iterator())


def _parse(parser: OverridesParser, text: str) -> Override:
    try:
        (override,) = parser.parse_overrides([text])
    except HydraException as error:
        raise ConfigError(f"overrides: expected field=value or field=value,value, given {text!r}") from error
    return override


def _refuse_both(fixed: Sequence[str], swept: Mapping[str, Override]) -> None:
    """Refuse a field that has one value in one place and several in another."""
    for text in fixed:
        if (key := plain(text).partition("=")[0]) in swept:
            raise ConfigError(f"{key}: expected its values once, given {text!r} and {swept[key].input_line!r}")
