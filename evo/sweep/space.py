"""What may be tried: fields with several values, as Optuna's distributions.

Owns the way from Hydra's sweep grammar to distributions and back to overrides. `choice(a,b)` and `a,b` are one of a few
(texts to the sampler, whatever they hold), `range(4,33,4)` is every fourth number from 4 to 32, `interval(0.05,1)` any
number between, `int(interval(1,9))` any whole number, and `tag(log, ...)` takes the logarithm of either. Does not own
which is tried next (`evo/sweep/study.py`).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import Trial

from evo.sweep.asked import values
from fitness.errors import ConfigError, nearest

TAGS = ("log",)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One field or group, and what it may be.

    Example: `Dimension(key="finetune.beta", distribution=FloatDistribution(0.05, 1.0, log=True))`
    """

    key: str
    """Dotted field, or group."""
    distribution: BaseDistribution
    """Optuna's."""

    def suggest(self, trial: Trial) -> str:
        """Return what a trial is to try, as it may stand behind `field=`; the same whenever it is asked again."""
        kind = self.distribution
        if isinstance(kind, CategoricalDistribution):
            return str(trial.suggest_categorical(self.key, kind.choices))
        if isinstance(kind, IntDistribution):
            return str(trial.suggest_int(self.key, kind.low, kind.high, step=kind.step, log=kind.log))
        assert isinstance(kind, FloatDistribution)
        return repr(trial.suggest_float(self.key, kind.low, kind.high, step=kind.step, log=kind.log))

    def samples(self) -> list[str]:
        """Return what to check before anything is tried: every choice, or the ends of a range."""
        kind = self.distribution
        if isinstance(kind, CategoricalDistribution):
            return list(map(str, kind.choices))
        assert isinstance(kind, IntDistribution | FloatDistribution)
        return [repr(kind.low), repr(kind.high)]


@dataclass(frozen=True, kw_only=True)
class Space:
    """Everything that differs between trials; at least one dimension."""

    dimensions: tuple[Dimension, ...]

    @classmethod
    def of(cls, swept: Sequence[Override]) -> "Space":
        """Return the space that a command line gives; inside `hydra_at_home`.

        Raises:
            ConfigError: there is no field with several values, or one of them cannot be searched.
        """
        if not swept:
            raise ConfigError(
                "tune: expected a field with several values, such as 'finetune.beta=tag(log, interval(0.05,1))' or "
                "selection=tournament,lexicase, given none"
            )
        return cls(dimensions=tuple(_dimension(one) for one in sorted(swept, key=lambda one: one.key_or_group)))

    def suggest(self, trial: Trial) -> tuple[str, ...]:
        """Return the overrides of a trial."""
        return tuple(f"{one.key}={one.suggest(trial)}" for one in self.dimensions)

    def corners(self) -> Iterator[tuple[str, tuple[tuple[str, ...], ...]]]:
        """Yield each value to check, and settings that have it: with the first of all others, the last, and without."""
        for one in self.dimensions:
            others = [other for other in self.dimensions if other is not one]
            for value in one.samples():
                mine = f"{one.key}={value}"
                around = [tuple(f"{other.key}={other.samples()[place]}" for other in others) for place in (0, -1)]
                yield mine, tuple(dict.fromkeys((mine, *rest) for rest in (*around, ())))

    def told(self) -> dict[str, str]:
        """Return the space as text, by key."""
        return {one.key: distribution_to_json(one.distribution) for one in self.dimensions}


def _dimension(override: Override) -> Dimension:
    key, sweep, text = override.key_or_group, override.value(), override.input_line
    tags: set[str] = getattr(sweep, "tags", set())
    if unknown := sorted(tags - {*TAGS}):
        raise ConfigError(f"{key}: expected no tag but {', '.join(TAGS)}, given {text!r}{nearest(unknown[0], TAGS)}")
    try:
        with warnings.catch_warnings(action="error"):
            return Dimension(key=key, distribution=_distribution(override, sweep, log="log" in tags))
    except (ValueError, UserWarning) as error:
        raise ConfigError(f"{key}: expected values that can be searched, given {text!r} ({error})") from error


def _distribution(override: Override, sweep: object, *, log: bool) -> BaseDistribution:
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        assert low is not None
        assert high is not None
        return FloatDistribution(low, high, log=log)
    if isinstance(sweep, RangeSweep):
        return _steps(sorted(sweep.range()), log=log)
    if log:
        raise ValueError("a logarithm is taken of an interval or a range")
    found = values(override)
    if len(set(found)) < max(1, len(found)):
        raise ValueError("every choice once")
    return CategoricalDistribution(found)


def _steps(found: Sequence[int] | Sequence[float], *, log: bool) -> BaseDistribution:
    """Return every number of a range, its end not among them, as Hydra has it."""
    if len(found) < 2:
        raise ValueError("at least two numbers; the end is not among them")
    low, high, step = found[0], found[-1], min(after - before for before, after in pairwise(found))
    if all(isinstance(one, int) for one in found):
        return IntDistribution(int(low), int(high), step=int(step), log=log)
    if log:
        raise ValueError("the logarithm of fractions is taken of an interval")
    step = round(step, 12)
    return FloatDistribution(low, low + round((high - low) / step) * step, step=step)
