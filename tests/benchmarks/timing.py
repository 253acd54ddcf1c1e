"""Measuring and telling.

Rates are per second of one core's own time, so that other programs' work does not count; medians over repeats that take
turns, so that a slow moment spoils none of the rivals alone. Right for work in one thread only.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def per_second(work: Mapping[str, Callable[[], int]], repeats: int) -> dict[str, float]:
    """Return the median rate of each piece of work, which does its thing once and returns how many units that was."""
    rates: dict[str, list[float]] = {name: [] for name in work}
    for do in work.values():  # Warm caches, and let the processor find its pace.
        do()
    for _ in range(repeats):
        for name, do in work.items():
            started = time.process_time()
            units = do()
            rates[name].append(units / (time.process_time() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a plain table, the first column to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in (columns, *rows)
    ]
    return "\n".join([title, lines[0], "-" * len(lines[0]), *lines[1:], ""])
