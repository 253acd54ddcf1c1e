"""An agent that is to be trained, with what is its own affair and not the method's.

Owns `Learner`: what may differ from agent to agent in one batched step. Does not own where it comes from: whoever
breeds agents may breed their habits of learning with them.
"""

from dataclasses import dataclass

from finetune.moments import Moments
from fitness.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Learner:
    """One agent, multiples of the settings that all share, and what its optimiser remembers.

    Example: `Learner(agent=agent, rate=2.0)` is trained at twice the trainer's learning rate.
    """

    agent: Agent
    rate: float = 1.0
    """Multiple of the trainer's learning rate; above 0."""
    beta: float = 1.0
    """Multiple of the method's beta; above 0. Methods without one (`Method.tempered`) do not look."""
    moments: Moments | None = None
    """What its optimiser begins with, with `moments: inherit`; None: nothing."""
