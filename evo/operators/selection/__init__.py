"""Selection: from fitness values to the positions of the chosen.

Contract: `Selection` in `base.py`. A DEAP selector of your own needs no file here: name it in
    `DeapSelection(function=...)`. To add a member, see `evo.operators`.
"""

from evo.operators.selection.base import Selection
from evo.operators.selection.best import Best
from evo.operators.selection.deap_selection import DeapSelection
from evo.operators.selection.tournament import Tournament

__all__ = ["Best", "DeapSelection", "Selection", "Tournament"]
