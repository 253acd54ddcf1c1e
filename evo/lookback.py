"""How far back do those who are trained look? This generation's decisions, and those of some before it.

Owns which generations' lives are learnt from. They are read from the run's telemetry each time, so that a run that is
resumed looks back at the same.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fitness.recall import read_transitions
from fitness.records import Transitions, joined_transitions


def look_back(
    run_folder: Path, generation: int, lookback: int, lived: Transitions, actions: Sequence[str]
) -> Transitions:
    """Return the decisions of `lookback` generations, ordered by (agent, seed, step).

    Args:
        run_folder: outputs/<run>/.
        generation: this one.
        lookback: how many, this one included; at first there are fewer.
        lived: the decisions of this one, which come first; they need not be on disk yet.
        actions: their names, in the environment's order.

    Raises:
        OutputError: what was recorded is missing or damaged.
    """
    before = range(max(0, generation - lookback + 1), generation)
    if not before:
        return lived
    parts = [lived, *(read_transitions(run_folder, past, actions) for past in before)]
    return joined_transitions(parts, list(dict.fromkeys(np.concatenate([part.agent for part in parts]).tolist())))
