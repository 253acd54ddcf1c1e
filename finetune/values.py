"""How much longer will it live? A value fitted on each generation, and the advantages of decisions that follow from it.

Owns the features of a situation (its vitals, so it serves every environment), the ridge
regression, and temporal-difference advantages. Pure numpy; does not own which decisions are trained on
(`finetune.batches`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitness.errors import ConfigError
from fitness.records import Transitions

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """How far advantages look.

    Generalised advantage estimation: Schulman et al. 2016, https://arxiv.org/abs/1506.02438.
    """

    discount: float = 0.98
    """Gamma; in (0, 1)."""
    trace: float = 0.3
    """Lambda; 0 trusts the fitted value, 1 the life as it was lived."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount: expected a number between 0 and 1, got {self.discount}")
        if not 0 <= self.trace <= 1:
            raise ConfigError(f"trace: expected a number from 0 to 1, got {self.trace}")


@dataclass(frozen=True)
class Appraisal:
    """What the fitted value says of m decisions."""

    advantage: Floats
    """[m] how much better than expected things went after the decision, in discounted steps of life."""
    value: Floats
    """[m] expected discounted remaining life before the decision."""
    explained: float
    """Share of the variance of discounted remaining life that the value explains."""


def appraise(transitions: Transitions, horizon: Horizon, *, rounds: int = 3, ridge: float = 1.0) -> Appraisal:
    """Fit a value on the transitions and return their advantages.

    The value is refitted `rounds` times on lambda-returns of its own last version, starting from lives as lived.

    Args:
        transitions: m decisions ordered by (agent, seed, step).
        horizon: discount and trace.
        rounds: how often to refit.
        ridge: penalty on the squared weights of standardised features.
    """
    features = situation_features(transitions)
    last = is_last(transitions)
    value = np.zeros(len(last))
    for round_ in range(rounds):
        trace = 1.0 if round_ == 0 else 0.9
        target = value + gae(transitions, last, value, Horizon(discount=horizon.discount, trace=trace))
        value = _ridge_fit(features, target, ridge)
    lived = gae(transitions, last, value, Horizon(discount=horizon.discount, trace=1.0))
    spread = float(np.var(value + lived))
    explained = 1.0 - float(np.var(lived)) / spread if spread > 0 else 0.0
    return Appraisal(gae(transitions, last, value, horizon), value, explained)


def is_last(transitions: Transitions) -> NDArray[np.bool_]:
    """Return [m] which decisions end their episode."""
    agent, seed = transitions.agent, transitions.seed
    last = np.ones(len(agent), bool)
    last[:-1] = (agent[1:] != agent[:-1]) | (seed[1:] != seed[:-1])
    return last


def gae(transitions: Transitions, last: NDArray[np.bool_], value: Floats, horizon: Horizon) -> Floats:
    """Return generalised advantages [m].

    Death is worth nothing; whoever lives at the end of the record is expected to go on as its last value says.
    """
    following = np.append(value[1:], 0.0)
    following = np.where(last, np.where(transitions.alive, value, 0.0), following)
    surprise = transitions.reward + horizon.discount * following - value
    advantage = np.empty(len(value))
    carried = 0.0
    for i in range(len(value) - 1, -1, -1):
        carried = surprise[i] + (0.0 if last[i] else horizon.discount * horizon.trace * carried)
        advantage[i] = carried
    return advantage


def situation_features(transitions: Transitions) -> Floats:
    """Return standardised features [m, f]: the vitals, their squares and products.

    The value deliberately sees no words. A value that knows what stands in the text foresees what the agent is about to
    do, so that a habit shows as no surprise, good or bad; from vitals alone every swallow of poison is a fall. The
    expected gradient is the same for any such baseline, the signal in a generation's few thousand decisions is not.
    """
    vitals = transitions.vitals.astype(np.float64)
    products = [vitals[:, i] * vitals[:, j] for i in range(vitals.shape[1]) for j in range(i + 1)]
    features = np.concatenate([vitals, np.stack(products, axis=1)], axis=1)
    spread = features.std(axis=0)
    kept = spread > 1e-9
    return np.asarray((features[:, kept] - features[:, kept].mean(axis=0)) / spread[kept])


def _ridge_fit(features: Floats, target: Floats, ridge: float) -> Floats:
    """Return the ridge regression's predictions [m] of `target` from standardised features."""
    mean = target.mean()
    gram = features.T @ features + ridge * np.eye(features.shape[1])
    return np.asarray(mean + features @ np.linalg.solve(gram, features.T @ (target - mean)))
