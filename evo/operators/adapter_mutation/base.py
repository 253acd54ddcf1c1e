"""What every adapter mutation promises.

Owns the contract: one mutant per adapter, of the same spec; the inputs are left as they are; the same Generator state
gives the same mutants; a step size of 0 changes nothing.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from fitness.adapter import AdapterStack


class AdapterMutation(ABC):
    """Changes adapters at random, each with its own strength."""

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
