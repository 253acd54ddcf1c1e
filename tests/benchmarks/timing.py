"""Measuring: rivals take turns, so that a slow moment spoils none of them alone, and the median of their turns counts.

Everyone has all cores, as a user's run has; seconds are by the clock on the wall. On a machine with other work to do
the figures fall, and the ratios with them: operations that are split among cores suffer most.
"""

import statistics
import time
from collections.abc import Callable, Mapping

Turn = Callable[[], float]
"""Does the whole work once; returns the seconds that it took."""

_REST = 0.2
"""Seconds before each turn: the threads of the one before go on waiting busily for a while."""
_SHORT = 1.0
"""Seconds below which a turn is taken twice and the second counts: the first finds memory cold after the others."""
_LONG = 20.0
"""Seconds for all turns of one rival after which it gets no more than three."""


def timed(do: Callable[[], object]) -> Turn:
    """Return the turn that does `do`."""

    def turn() -> float:
        started = time.perf_counter()
        do()
        return time.perf_counter() - started

    return turn


def race(rivals: Mapping[str, Turn], repeats: int) -> dict[str, float]:
    """Return the median seconds of each rival over `repeats` turns, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in rivals.values():
        turn()
    for number in range(repeats):
        for name, turn in rivals.items():
            if number < 3 or sum(seconds[name]) < _LONG:
                time.sleep(_REST)
                first = turn()
                seconds[name].append(turn() if first < _SHORT else first)
    return {name: statistics.median(times) for name, times in seconds.items()}
