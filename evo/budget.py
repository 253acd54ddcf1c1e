"""When a run has spent its budget: which of its generations is the last.

Owns the rule. What is counted is counted by the engine and the trainer; the limits are `evo.config.BudgetConfig`. The
last generation differs from others (`finals` times as many worlds, nobody is tuned), so a run must know before it
begins that it is the last. The rule: it is, if another one, at the price of the one before, and the last one after that
would no longer fit. A run thus ends less than one generation's cost below its budget, or above it by as much as lives
grew longer meanwhile; and has two generations at least.
"""

from dataclasses import dataclass

from evo.config import BudgetConfig
from evo.records import Budget

NOTHING = Budget(decisions=0, forward_flops=0.0, training_flops=0.0)
"""What a run has spent before it begins."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How far a run is."""

    begun: Budget = NOTHING
    """Spent when its latest generation began."""
    ended: bool = False
    """Whether that one is the last."""

    def next(self, spent: Budget, limit: BudgetConfig, finals: int, *, planned: bool) -> "Pace":
        """Return the pace of the generation that begins now.

        Args:
            spent: until now.
            limit: what may be spent.
            finals: how many times as many worlds the last generation lives in.
            planned: whether the number of generations makes it the last.
        """
        return Pace(begun=spent, ended=planned or _is_last(self.begun, spent, limit, finals))


def _is_last(before: Budget, spent: Budget, limit: BudgetConfig, finals: int) -> bool:
    """Tell whether an ordinary generation at the price of the latest, and then a last one, are too much."""
    decisions = (spent.decisions - before.decisions) * (1 + finals)
    living = (spent.forward_flops - before.forward_flops) * (1 + finals)
    flops = living + spent.training_flops - before.training_flops
    total = spent.forward_flops + spent.training_flops
    too_long = limit.decisions is not None and spent.decisions + decisions > limit.decisions
    return too_long or (limit.flops is not None and total + flops > limit.flops)
