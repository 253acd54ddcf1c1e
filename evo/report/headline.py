"""What a comparison found, in one sentence.

Owns the words, and which pairs they are about: those with the best arm, or with the arm that all are compared with. A
difference is told where its corrected p says so; all else is called what it is, not told. The numbers are those of
comparison.py.
"""

import math
from collections.abc import Sequence

from evo.report.comparison import TOLD, Comparison, Contrast
from evo.report.statistics import Interval

_NAMED = 3
"""Arms of one kind that are named; of more, it is said how many."""


def headline(comparison: Comparison) -> str:
    """Return the sentence.

    Example: "joint beats selection by 0.12 (0.05 to 0.19); no difference can be told between joint and grpo."
    """
    best = comparison.outcomes[0]
    if len(comparison.outcomes) == 1:
        runs = f"{len(best.arm.runs)} run{'s' if len(best.arm.runs) > 1 else ''}"
        return f"{best.arm.name} scores {tell(best.score)} over {runs}; there is no other arm to compare it with."
    about = comparison.against or best.arm.name
    pairs = [one for one in comparison.contrasts if about in (one.first, one.second)]
    if not pairs:
        return f"{about} cannot be compared with any other arm, for no other lived in the same environment."
    found = [*_beaten(about, pairs), *_undecided(about, pairs)]
    rest = [one for one in comparison.contrasts if one not in pairs]
    if rest and not any(is_told(one) for one in pairs):
        found.append(f"of the other {len(rest)} pairs, {sum(map(is_told, rest))} differ")
    return f"{'; '.join(found)}."


def is_told(contrast: Contrast) -> bool:
    """Tell whether two arms differ more than chance lets runs differ, and which is better is beyond doubt."""
    return contrast.corrected < TOLD and (contrast.effect.a - 0.5) * contrast.difference.value > 0


def tell(interval: Interval) -> str:
    """Return a number with its interval, if it has one."""
    value, low, high = (round(number, 2) + 0.0 for number in interval)  # no -0.00
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if math.isfinite(low) else f"{value:.2f}"


def _beaten(about: str, pairs: Sequence[Contrast]) -> list[str]:
    """Return who beats whom and by how much, of the pairs that `about` is in."""
    told = [one for one in pairs if is_told(one)]
    wins, losses = [one for one in told if one.effect.a > 0.5], [one for one in told if one.effect.a < 0.5]
    if pairs[0].first == about:  # the best arm is the first of all its pairs, a reference the second
        others = [one.second for one in wins]
        return [f"{about} beats {others[0]} by {_by(wins[0])}{_also(others, 'and also')}"] if wins else []
    over, under = [one.first for one in wins], [one.first for one in reversed(losses)]
    found = [f"{over[0]} beats {about} by {_by(wins[0])}{_also(over, 'and so do')}"] if over else []
    found += [f"{under[0]} falls short of {about} by {_by(losses[-1])}{_also(under, 'and so do')}"] if under else []
    return found


def _by(contrast: Contrast) -> str:
    """Return how far apart two arms are, whichever is the better one."""
    value, low, high = contrast.difference
    return tell(Interval(value, low, high) if contrast.effect.a > 0.5 else Interval(-value, -high, -low))


def _also(names: Sequence[str], word: str) -> str:
    """Return the rest of the names, the first of which was said."""
    return f", {word.replace('do', 'does') if len(names) == 2 else word} {_names(names[1:])}" if names[1:] else ""


def _undecided(about: str, pairs: Sequence[Contrast]) -> list[str]:
    names = [one.second if one.first == about else one.first for one in pairs if not is_told(one)]
    return [f"no difference can be told between {about} and {_names(names, 'or')}"] if names else []


def _names(names: Sequence[str], word: str = "and") -> str:
    """Return names as a list in words; of many, a few and the number of the rest."""
    if len(names) > _NAMED + 1:
        names = [*names[:_NAMED], f"{len(names) - _NAMED} others"]
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last
