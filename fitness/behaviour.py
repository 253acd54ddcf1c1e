"""What an agent does, as a few numbers: the space in which quality-diversity algorithms keep agents apart.

Owns the behaviour vector: how often each action was taken, and how evenly. To add a number, add its name and its value
here; algorithms name those that they look at.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fitness.records import Transitions


def behaviour_names(action_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the numbers: each action, then `entropy`."""
    return (*action_names, "entropy")


def behaviours(
    transitions: Transitions, action_names: Sequence[str], agents: Sequence[int]
) -> Mapping[int, NDArray[np.float64]]:
    """Return agent id -> [A + 1]: the share of its decisions that was each action, and the entropy of these shares.

    Entropy is relative to that of A equal shares, so every number is from 0 to 1; of an agent that decided nothing, all
    are 0.

    Args:
        transitions: all decisions of all agents.
        action_names: A names.
        agents: ids.
    """
    ids = np.asarray(agents, np.int64)
    order = np.argsort(ids)
    own = np.isin(transitions.agent, ids)
    rows = order[np.searchsorted(ids, transitions.agent[own], sorter=order)]
    counts = np.zeros((len(ids), len(action_names)))
    np.add.at(counts, (rows, transitions.action[own]), 1.0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(axis=1) / np.log(max(len(action_names), 2))
    return dict(zip(ids.tolist(), np.column_stack([shares, entropy]), strict=True))
