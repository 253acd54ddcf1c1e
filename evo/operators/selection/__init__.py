"""Selection: from fitness values to the positions of the chosen.

Contract: `Selection` in `base.py`. Members that see one score for each member: `Tournament`, `Best`, `Rank`,
`Roulette`, `UniversalSampling`, `PerformanceNovelty`. Members that see every world: `Lexicase`, `NSGA2`, `NSGA3`,
`SPEA2`, `TournamentDCD`, `ParetoFrequency`, `ResourceSharing`. A DEAP selector of your own needs no file here: name it
in `DeapSelection(function=...)`. To add a member, see `evo.operators`.
"""

from evo.operators.selection.base import Pool, Selection
from evo.operators.selection.best import Best
from evo.operators.selection.deap_selection import DeapSelection
from evo.operators.selection.lexicase import Lexicase
from evo.operators.selection.nsga2 import NSGA2, TournamentDCD
from evo.operators.selection.nsga3 import NSGA3
from evo.operators.selection.pareto_frequency import ParetoFrequency
from evo.operators.selection.performance_novelty import PerformanceNovelty
from evo.operators.selection.rank import Rank
from evo.operators.selection.resource_sharing import ResourceSharing
from evo.operators.selection.roulette import Roulette, UniversalSampling
from evo.operators.selection.spea2 import SPEA2
from evo.operators.selection.tournament import Tournament

__all__ = [
    "NSGA2",
    "NSGA3",
    "SPEA2",
    "Best",
    "DeapSelection",
    "Lexicase",
    "ParetoFrequency",
    "PerformanceNovelty",
    "Pool",
    "Rank",
    "ResourceSharing",
    "Roulette",
    "Selection",
    "Tournament",
    "TournamentDCD",
    "UniversalSampling",
]
