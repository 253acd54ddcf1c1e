"""Operators on strategy genes (one clause per slot).

Contracts: `StrategyCrossover` and `StrategyMutation` in `base.py`. To add a member, see `evo.operators`.
"""

from evo.operators.strategy.base import StrategyCrossover, StrategyMutation
from evo.operators.strategy.clause_mutation import ClauseMutation
from evo.operators.strategy.segment_crossover import SegmentCrossover

__all__ = ["ClauseMutation", "SegmentCrossover", "StrategyCrossover", "StrategyMutation"]
