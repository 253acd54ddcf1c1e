"""What every adapter mutation promises.

Owns the contract: one mutant per adapter, of the same spec; the inputs are left as they are; the same Generator state
gives the same mutants; a step size of 0 changes nothing.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evo.genome import finite_vector
from fitness.adapter import AdapterStack


class AdapterMutation(ABC):
    """Changes adapters at random, each with its own strength."""

    senses: ClassVar[bool] = False
    """Whether it wants to know how much each weight matters, where that can be measured (`mutate_sensed`)."""

    @abstractmethod
    def mutate(self, stack: AdapterStack, step_sizes: NDArray[np.float64], rng: np.random.Generator) -> AdapterStack:
        """Return the mutants, in the order of the stack.

        Args:
            stack: P adapters.
            step_sizes: [P] relative strengths, at least 0.
            rng: the only source of chance.

        Raises:
            ValueError: the step sizes are not P finite numbers of at least 0.
        """

    def mutate_sensed(
        self,
        stack: AdapterStack,
        sensitivity: AdapterStack,
        step_sizes: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> AdapterStack:
        """Return the mutants, in the order of the stack, in view of how much each weight matters.

        Args:
            stack: P adapters.
            sensitivity: of each of their weights, at least 0, in the same form (`evo.senses`).
            step_sizes: [P] relative strengths, at least 0.
            rng: the only source of chance.

        Raises:
            AdapterError: the sensitivities have another form than the adapters.
            ValueError: the step sizes are not P finite numbers of at least 0.
        """
        return self.mutate(stack, step_sizes, rng)


def as_steps(step_sizes: NDArray[np.float64], count: int) -> Tensor:
    """Return the step sizes as float32 [count, 1, 1]."""
    steps = finite_vector("step_sizes", step_sizes)
    if len(steps) != count or (steps < 0).any():
        raise ValueError(f"step_sizes: expected {count} numbers of at least 0, got {steps.tolist()}")
    return torch.from_numpy(steps.astype(np.float32))[:, None, None]
