"""Crossover of adapters: couples in, children out, all couples at once.

Contract: `AdapterCrossover` in `base.py`. To add a member, see `evo.operators`.
"""

from evo.operators.adapter_crossover.base import AdapterCrossover
from evo.operators.adapter_crossover.exact import ExactCrossover, merge

__all__ = ["AdapterCrossover", "ExactCrossover", "merge"]
