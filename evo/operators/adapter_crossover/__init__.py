"""Crossover of adapters: couples in, children out, all couples at once.

Contract: `AdapterCrossover` in `base.py`. To add a member, see `evo.operators`; one that only weighs the parents'
singular components derives from `ComponentCrossover`.
"""

from evo.operators.adapter_crossover.base import AdapterCrossover
from evo.operators.adapter_crossover.components import ComponentCrossover
from evo.operators.adapter_crossover.dare import DareCrossover
from evo.operators.adapter_crossover.exact import ExactCrossover, merge, merge_each
from evo.operators.adapter_crossover.extrapolate import ExtrapolateCrossover
from evo.operators.adapter_crossover.layerwise import LayerwiseCrossover
from evo.operators.adapter_crossover.slerp import SlerpCrossover
from evo.operators.adapter_crossover.svd import SingularCrossover
from evo.operators.adapter_crossover.ties import TiesCrossover

__all__ = [
    "AdapterCrossover",
    "ComponentCrossover",
    "DareCrossover",
    "ExactCrossover",
    "ExtrapolateCrossover",
    "LayerwiseCrossover",
    "SingularCrossover",
    "SlerpCrossover",
    "TiesCrossover",
    "merge",
    "merge_each",
]
