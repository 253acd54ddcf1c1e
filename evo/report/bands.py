"""How far apart members and lives of a generation are: quantiles, to be drawn as bands behind a curve.

Owns which quantiles. Does not own how a band looks (figures.py).
"""

from collections.abc import Iterable, Mapping

import numpy as np

QUANTILES = (0.1, 0.25, 0.75, 0.9)
"""The ends of the middle 80% and of the middle half."""

Bands = Mapping[int, tuple[float, ...]]
"""Generation -> a number for each of `QUANTILES`; none for a generation of which nothing is known."""


def spread(values: Iterable[tuple[int, float]]) -> Bands:
    """Return the bands of (generation, number) pairs; numbers that do not exist do not count.

    Example: `spread([(0, 1.0), (0, 2.0), (0, 3.0)])[0] == (1.2, 1.5, 2.5, 2.8)`
    """
    found: dict[int, list[float]] = {}
    for generation, value in values:
        if np.isfinite(value):
            found.setdefault(generation, []).append(value)
    return {key: tuple(np.quantile(found[key], QUANTILES).tolist()) for key in sorted(found)}
