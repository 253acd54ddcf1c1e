"""Operators on strategy genes (one clause per slot; free slots may be empty).

Contracts: `StrategyCrossover` and `StrategyMutation` in `base.py`. Operators of the grammar need chance alone; those in
`written` ask a language model, through the `Author` of `author.py`. Insertion, deletion and order are matters of free
slots: with a grammar that has none, those members change nothing. To add a member, see `evo.operators`.
"""

from evo.operators.strategy.base import StrategyCrossover, StrategyMutation
from evo.operators.strategy.chain import Chain
from evo.operators.strategy.clause_deletion import ClauseDeletion
from evo.operators.strategy.clause_insertion import ClauseInsertion
from evo.operators.strategy.clause_mutation import ClauseMutation
from evo.operators.strategy.clause_shift import ClauseShift
from evo.operators.strategy.segment_crossover import SegmentCrossover
from evo.operators.strategy.written import Blend, Pen, Reflection, Rewrite

__all__ = [
    "Blend",
    "Chain",
    "ClauseDeletion",
    "ClauseInsertion",
    "ClauseMutation",
    "ClauseShift",
    "Pen",
    "Reflection",
    "Rewrite",
    "SegmentCrossover",
    "StrategyCrossover",
    "StrategyMutation",
]
