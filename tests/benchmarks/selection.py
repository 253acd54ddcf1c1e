"""Selection over many worlds: all parents at once against DEAP's, one by one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from deap import tools
from numpy.typing import NDArray

from evo.operators.selection import Lexicase
from evo.operators.selection.deap_selection import lent_global_randomness
from tests.benchmarks.findings import Finding, faster, tell
from tests.benchmarks.timing import race, timed

MEMBERS, WORLDS, PARENTS = 10_000, 64, 5_000
HORIZON = 60.0
LIMIT = "one second"
_FEW = 5
"""Parents that DEAP chooses: it would take hours for all."""
_KINDS: list[tuple[str, Any, Callable[..., Any]]] = [
    ("lexicase", 0.0, tools.selLexicase),
    ("auto-epsilon lexicase", "auto", tools.selAutomaticEpsilonLexicase),
]


def measure(repeats: int) -> list[Finding]:
    """Measure lexicase on fitness without ties, and on lives of which a third end at the horizon."""
    rng = np.random.default_rng(0)
    skill = np.exp(rng.normal(0, 0.7, (MEMBERS, 1)))
    lives = np.minimum(np.round(rng.exponential(HORIZON * skill, (MEMBERS, WORLDS))), HORIZON)
    tables = {"no ties": rng.normal(size=(MEMBERS, WORLDS)), "lives, many ties": lives}
    return [
        finding
        for told, cases in tables.items()
        for name, epsilon, function in _KINDS
        for finding in _compare(
            f"{name}: {PARENTS} of {MEMBERS}, {WORLDS} worlds, {told}", cases, epsilon, function, repeats
        )
    ]


def _compare(
    case: str, cases: NDArray[np.float64], epsilon: Any, function: Callable[..., Any], repeats: int
) -> list[Finding]:
    """Compare with DEAP by parents per second, and with the limit of a second for all."""
    tell(case)
    weights = (1.0,) * WORLDS
    individuals = [SimpleNamespace(fitness=SimpleNamespace(values=row, weights=weights)) for row in cases.tolist()]
    selection = Lexicase(epsilon=epsilon)

    def theirs() -> None:
        with lent_global_randomness(np.random.default_rng(0)):
            function(individuals, _FEW)

    seconds = race(
        {
            "ours": timed(lambda: selection.select(cases, PARENTS, np.random.default_rng(0))),
            f"DEAP {function.__name__}": timed(theirs),
        },
        repeats,
    )
    ours, deap = seconds
    each = {ours: seconds[ours] / PARENTS, deap: seconds[deap] / _FEW}
    return [
        *faster(case, "parents/s", 1, each, {deap: 100.0}),
        *faster(case, "calls/s", 1, {ours: seconds[ours], LIMIT: 1.0}, {LIMIT: 1.0}),
    ]
