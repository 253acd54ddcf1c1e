"""The knobs of optimisation, shared by all methods. Imports nothing heavy."""

import math
from dataclasses import dataclass

from fitness.checks import check_choice, check_integer
from fitness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How adapters are optimised, and which results are refused."""

    learning_rate: float = 1.5e-3
    """AdamW's step size; LoRA factors take about ten times that of full weights."""
    passes: int = 1
    """How often each decision is trained on."""
    batch: int = 32
    """Decisions of each agent per optimisation step."""
    rows_at_once: int = 256
    """Rows in one forward and backward, at most; bounds the memory of each core, changes no result."""
    clip_norm: float = 1.0
    """Largest norm of one agent's gradient."""
    beta2: float = 0.95
    """Decay of AdamW's second moment; a short memory suits the few steps of a generation."""
    moments: str = "reset"
    """What AdamW remembers: "reset" has every round begin with nothing; "inherit" has it begin with the moments and the
    step count that made the agent's weights, or its only parent's, and so on; a child of two begins with nothing."""
    weight_decay: float = 0.0
    """AdamW's, decoupled; pulls the factors towards 0."""
    largest_drift: float = 1.0
    """An adapter whose mean KL divergence from its parent exceeds this many nats is refused."""
    too_far: str = "refuse"
    """What becomes of an adapter that drifted too far: "refuse", or "shrink", where it goes back half of its way to the
    parent until it is near enough, five times at most."""
    largest_gradient: float = 1e3
    """An adapter whose gradient had a larger norm than this at any step, before clipping, is refused."""
    least_entropy: float = 0.02
    """An adapter whose mean action entropy falls below this many nats is refused."""

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("passes", "batch", "rows_at_once"):
            check_integer(name, getattr(self, name), 1)
        check_choice("moments", self.moments, ("reset", "inherit"))
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate: expected a finite number above 0, got {self.learning_rate}")
        if not 0 < self.beta2 < 1:
            raise ConfigError(f"beta2: expected a number between 0 and 1, got {self.beta2}")
        check_choice("too_far", self.too_far, ("refuse", "shrink"))
        for name in ("clip_norm", "largest_drift", "largest_gradient"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "least_entropy"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}: expected a number of at least 0, got {getattr(self, name)}")
