"""Self-adaptation: the strength of mutation is inherited and mutates too, and so may the strength of training.

Owns the log-normal rule; `evo.genome.StepSizes` is what it varies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evo.genome import StepSizes
from fitness.checks import check_range


@dataclass(frozen=True, kw_only=True)
class LogNormalAdaptation:
    """`s' = s * exp(tau * N(0, 1))` with `tau = 1 / sqrt(2 n)`, for n variables under one step size.

    From evolution strategies (Schwefel 1981; Beyer and Schwefel 2002, https://doi.org/10.1023/A:1015059928466). Ours
    differs: tau is bounded, since an adapter's thousands of variables would freeze the step size, and so is the result.
    Two parents give the geometric mean of their step sizes, which is their middle on the scale that the rule moves on.

    With `rate` or `beta` a genome also inherits how it is fine-tuned, one variable each: population-based training
    (Jaderberg et al. 2017, https://arxiv.org/abs/1711.09846), with the log-normal rule in place of factors of 0.8 and
    1.2, and with breeding in place of copying the best over the worst. `evo.report.schedule` replays it.
    """

    tau: tuple[float, float] = (0.05, 0.3)
    """Bounds of the learning rate tau; 0 to 10."""
    strategy: tuple[float, float] = (0.02, 0.5)
    """Bounds of the chance per slot; above 0, at most 1."""
    adapter: tuple[float, float] = (0.01, 2.0)
    """Bounds of the adapter's step size; above 0."""
    rate: tuple[float, float] | None = None
    """Bounds of the multiple of the learning rate that a genome is fine-tuned with, such as (0.25, 4); None: 1."""
    beta: tuple[float, float] | None = None
    """Bounds of the multiple of the fine-tuning method's beta; None: 1."""

    def __post_init__(self) -> None:
        """Refuse bounds out of order or range."""
        check_range("tau", self.tau, 0.0, 10.0)
        check_range("strategy", self.strategy, 1e-6, 1.0)
        check_range("adapter", self.adapter, 1e-9)
        for name in ("rate", "beta"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1e-3, 1e3)

    def inherit(
        self, parents: Sequence[StepSizes], num_slots: int, num_weights: int, rng: np.random.Generator
    ) -> StepSizes:
        """Return a child's step sizes.

        Args:
            parents: the step sizes of one parent or more.
            num_slots: strategy slots, at least 1.
            num_weights: adapter weights that mutate, at least 1.
            rng: the only source of chance; two draws, and one each for `rate` and `beta` where they vary.
        """
        strategy, adapter = (
            _geometric_mean([p.strategy for p in parents]),
            _geometric_mean([p.adapter for p in parents]),
        )
        return StepSizes(
            strategy=_clip(strategy * math.exp(self._rate(num_slots) * rng.standard_normal()), self.strategy),
            adapter=_clip(adapter * math.exp(self._rate(num_weights) * rng.standard_normal()), self.adapter),
            rate=self._habit([p.rate for p in parents], self.rate, rng),
            beta=self._habit([p.beta for p in parents], self.beta, rng),
        )

    def _habit(self, parents: Sequence[float], bounds: tuple[float, float] | None, rng: np.random.Generator) -> float:
        """Return a child's multiple of how it is trained; 1 where it does not vary."""
        if bounds is None:
            return 1.0
        return _clip(_geometric_mean(parents) * math.exp(self._rate(1) * rng.standard_normal()), bounds)

    def _rate(self, num_variables: int) -> float:
        """Return the bounded learning rate tau for `num_variables`."""
        return _clip(1.0 / math.sqrt(2.0 * max(num_variables, 1)), self.tau)


def _geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _clip(value: float, bounds: tuple[float, float]) -> float:
    """Return the nearest value within `bounds`."""
    return min(max(value, bounds[0]), bounds[1])
