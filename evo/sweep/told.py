"""What a study has found, as Markdown.

Owns which trials are shown and in which order: the best few of one goal, or for several goals those that no other
trial beats in all (the Pareto front); and which fields mattered, by PED-ANOVA (https://arxiv.org/abs/2304.10255).
"""

import warnings
from collections.abc import Sequence
from functools import partial

import optuna
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from evo.sweep.goals import GOALS

BEST = 10
"""Trials that are shown of one goal."""
ENOUGH = 8
"""Finished trials before anything is said of what mattered."""


def told(study: optuna.Study, goals: Sequence[str]) -> str:
    """Return the table of the best trials and what mattered.

    Args:
        study: with any number of trials.
        goals: their names, in the study's order.
    """
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    states = {state: len(study.get_trials(deepcopy=False, states=[state])) for state in TrialState}
    counts = f"{len(done)} finished, {states[TrialState.FAIL]} failed, {states[TrialState.RUNNING]} in work"
    if not done:
        return f"trials: {counts}"
    shown = _front(study) if len(goals) > 1 else _ranked(done, GOALS[goals[0]].direction)[:BEST]
    title = f"Pareto front of {len(shown)}" if len(goals) > 1 else f"best {len(shown)}"
    return "\n".join(
        [f"trials: {counts}; {title}:", "", *_table(shown, goals), "", *_mattered(study, goals, len(done))]
    )


def _front(study: optuna.Study) -> list[FrozenTrial]:
    return sorted(study.best_trials, key=lambda trial: (-trial.values[0], trial.number))


def _ranked(trials: Sequence[FrozenTrial], direction: str) -> list[FrozenTrial]:
    sign = -1.0 if direction == "maximize" else 1.0
    return sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))


def _table(trials: Sequence[FrozenTrial], goals: Sequence[str]) -> list[str]:
    keys = sorted({key for trial in trials for key in trial.params})
    lines = [f"| trial | {' | '.join((*goals, *keys))} |", "|---" * (1 + len(goals) + len(keys)) + "|"]
    for trial in trials:
        cells = [_number(value) for value in trial.values]
        cells += [_number(trial.params[key]) if key in trial.params else "" for key in keys]
        lines.append(f"| {trial.number:03} | {' | '.join(cells)} |")
    return lines


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _mattered(study: optuna.Study, goals: Sequence[str], finished: int) -> list[str]:
    """Return a line for each goal that says how much each field mattered."""
    if finished < ENOUGH:
        return [f"what mattered: told from {ENOUGH} finished trials on"]
    lines = []
    for place, goal in enumerate(goals):
        with warnings.catch_warnings(action="ignore"):  # of what is new in Optuna
            shares = get_param_importances(study, target=partial(_value, place))
        parts = ", ".join(f"{key} {share:.2f}" for key, share in shares.items())
        lines.append(f"what mattered for {goal} (PED-ANOVA, shares of 1, {finished} trials): {parts}")
    return lines


def _value(place: int, trial: FrozenTrial) -> float:
    return float(trial.values[place])
