"""What was to be expected? Baselines that are counted from lives, with nothing fitted.

Owns advantages as discounted returns less a mean over other decisions. Pure numpy; the baseline that is fitted is
`finetune.values`'. To add one, write a function from transitions and returns to a baseline, and name it in `BASELINES`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from finetune.episodes import lives_of
from finetune.values import Horizon, appraise, gae, is_last
from fitness.records import Transitions

Floats = NDArray[np.float64]


def returns_to_go(transitions: Transitions, discount: float) -> Floats:
    """Return [m] the discounted sum of rewards from each decision to the end of its record."""
    nothing = np.zeros(len(transitions))
    return gae(transitions, is_last(transitions), nothing, Horizon(discount=discount, trace=1.0))


def step_mean(transitions: Transitions, returns: Floats) -> Floats:
    """Return [m] the mean return of all who lived to take a decision of the same step, in whatever world."""
    _, group, count = np.unique(transitions.step, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(group, weights=returns) / count)[group])


def leave_one_out(transitions: Transitions, returns: Floats) -> Floats:
    """Return [m] the mean return from the same step on of all other lives in the same world.

    The dead get nothing more. A baseline that does not know the life it is taken from leaves the expected gradient as
    it is (Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE; Ahmadian et al. 2024,
    https://arxiv.org/abs/2402.14740). Who was alone in its world is compared with itself.
    """
    lives = lives_of(transitions)
    worlds, world, count = np.unique(lives.seed, return_inverse=True, return_counts=True)
    others = count[world][lives.of] - 1
    place = world[lives.of] + len(worlds) * transitions.step.astype(np.int64)
    total = np.bincount(place, weights=returns)[place]
    return np.where(others > 0, (total - returns) / np.maximum(others, 1), returns)


BASELINES: Mapping[str, Callable[[Transitions, Floats], Floats]] = {"step": step_mean, "others": leave_one_out}
"""Those that are counted; "value" is fitted."""


def advantages(transitions: Transitions, baseline: str, horizon: Horizon) -> tuple[Floats, float]:
    """Return the advantages [m] over a baseline, and the share of variance that it explains; NaN if it is counted.

    Args:
        transitions: m decisions ordered by (agent, seed, step).
        baseline: "value" (fitted, with the horizon's trace), "step" or "others".
        horizon: discount and trace.
    """
    if baseline == "value":
        appraisal = appraise(transitions, horizon)
        return appraisal.advantage, appraisal.explained
    returns = returns_to_go(transitions, horizon.discount)
    return returns - BASELINES[baseline](transitions, returns), float("nan")
