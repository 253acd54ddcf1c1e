"""Finished runs in arms: those that were set alike, seeds apart.

Owns what of a run is compared, and which runs belong together. Reads summary.json, manifest.json, config.yaml and
generations.parquet. Does not own what is computed of arms (comparison.py).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo.records import GenerationRecord, HeldOut, Summary
from evo.report.reading import read_commit, read_generations, read_settings, read_summary
from fitness.errors import OutputError

_EVOLVED = "evolved"
_NEEDED = ("frozen", _EVOLVED)
_SEED = "seed"
_NO_MATTER = ("tracking", "retention", "split")
"""Parts of the settings that change nothing of what a run comes to."""
_ENVIRONMENT = "environment"
_NOT_SET = "not set"
_Key = tuple[tuple[str, str], ...]
_LONGEST_NAME = 60
_STAMP = r"(-\d{8}-\d{6})?(-\d+)?$"
"""What a folder's name may have after its seed, if Forager chose it."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run is compared by."""

    folder: Path
    """Its own."""
    summary: Summary
    """What it came to."""
    settings: Mapping[str, str]
    """Dotted field -> value as text; empty if there is no config.yaml."""
    commit: str | None
    """That made it."""
    generations: tuple[GenerationRecord, ...]
    """In order; empty if the table cannot be read."""

    @property
    def evolved(self) -> HeldOut:
        """Return how its best genome did on held-out worlds."""
        return dict(self.summary.heldout)[_EVOLVED]

    @property
    def flops(self) -> float:
        """Return what it spent on deciding and fine-tuning."""
        return self.summary.budget.forward_flops + self.summary.budget.training_flops


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs that differ in their seeds only, or in the environment as well, which is then a stratum each."""

    name: str
    """As their folders begin, or what sets them apart from other arms."""
    settings: Mapping[str, str]
    """What sets them apart."""
    runs: tuple[RunResult, ...]
    """In the order given, at least one; of each seed in an environment the first."""
    repeated: tuple[RunResult, ...]
    """Runs of seeds that are among `runs` already: they say nothing new."""

    def strata(self, value: Callable[[RunResult], float]) -> dict[str, list[float]]:
        """Return environment -> a value of each run in it."""
        found: dict[str, list[float]] = {}
        for run in self.runs:
            found.setdefault(run.summary.environment, []).append(value(run))
        return found


def read_result(folder: Path) -> RunResult:
    """Load what a finished run is compared by.

    Raises:
        OutputError: it has no summary.json, or a file in it cannot be read.
    """
    summary = read_summary(folder)
    if summary is None:
        raise OutputError(f"run: expected the folder of a finished run with a summary.json, given {str(folder)!r}")
    rows = dict(summary.heldout)
    missing = sorted({*_NEEDED} - rows.keys())
    if missing:
        raise OutputError(f"{folder}: summary.json: expected rows of frozen and evolved, got none of {missing[0]}")
    if not math.isfinite(rows[_EVOLVED].score):
        raise OutputError(f"{folder}: summary.json: expected a finite score of evolved, got {rows[_EVOLVED].score}")
    try:
        generations = read_generations(folder)
    except OutputError:  # another version wrote the table, or it is damaged: the result stands without its curve
        generations = ()
    return RunResult(
        folder=folder,
        summary=summary,
        settings=dict(flat(read_settings(folder), "")),
        commit=read_commit(folder),
        generations=generations,
    )


def differences(settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the fields, but for the seed, that have not the same value in all runs, each run's value in order.

    Where one run has another component than the others, its own fields go without saying.
    """
    differing = _differing(settings)
    replaced = tuple(field.removesuffix("_target_") for field in differing if field.endswith("._target_"))
    return {
        field: given
        for field, given in differing.items()
        if not any(field.startswith(part) and field != f"{part}_target_" for part in replaced)
    }


def _differing(settings: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return all such fields."""
    fields = dict.fromkeys(field for one in settings for field in one if field != _SEED)
    values = {field: [one.get(field, _NOT_SET) for one in settings] for field in fields}
    return {field: given for field, given in values.items() if len(set(given)) > 1}


def told_apart(arms: Sequence[Arm]) -> dict[str, dict[str, list[str]]]:
    """Return field -> value -> names of the arms that have it, for the settings that matter and are not all alike."""
    runs = [
        (arm.name, {field: value for field, value in run.settings.items() if _matters(field)})
        for arm in arms
        for run in arm.runs
    ]
    found: dict[str, dict[str, list[str]]] = {}
    for field, values in differences([settings for _, settings in runs]).items():
        for (name, _), value in zip(runs, values, strict=True):
            names = found.setdefault(field, {}).setdefault(value, [])
            names += [] if name in names else [name]
    return found


def group(results: Sequence[RunResult]) -> tuple[Arm, ...]:
    """Put runs into arms, in the order in which each arm's first run was given.

    Runs are of one arm if the settings that matter are the same. The environment may differ if it is another one
    altogether: then it is a stratum.
    """
    members: dict[_Key, dict[tuple[str, int], RunResult]] = {}
    repeated: dict[_Key, list[RunResult]] = {}
    for result, key in zip(results, _keys(results), strict=True):
        lived = (result.summary.environment, result.summary.seed)
        arm = tuple(key.items())
        if members.setdefault(arm, {}).setdefault(lived, result) is not result:
            repeated.setdefault(arm, []).append(result)
    stems = [{_stem(run) for run in runs.values()} for runs in members.values()]
    return tuple(
        Arm(
            name=_name(place, stems, dict(key)),
            settings={field: value for field, value in key if value != _NOT_SET},
            runs=tuple(runs.values()),
            repeated=tuple(repeated.get(key, ())),
        )
        for place, (key, runs) in enumerate(members.items())
    )


def _keys(results: Sequence[RunResult]) -> list[dict[str, str]]:
    """Return for each run the settings that tell its arm from others."""
    keys: list[dict[str, str]] = [{} for _ in results]
    environments = [result.summary.environment for result in results]
    own = [_of_environment(result.settings, True) for result in results]
    rest = [_of_environment(result.settings, False) for result in results]
    parts = [(rest, list(range(len(results))))]
    parts += [(own, [i for i, one in enumerate(environments) if one == name]) for name in dict.fromkeys(environments)]
    for settings, places in parts:
        for field, values in _differing([settings[i] for i in places]).items():
            for place, value in zip(places, values, strict=True):
                keys[place][field] = value
    return keys


def _of_environment(settings: Mapping[str, str], wanted: bool) -> dict[str, str]:
    """Return the settings of the environment, or those of all else that matters."""
    return {f: v for f, v in settings.items() if (_top(f) == _ENVIRONMENT) is wanted and _matters(f)}


def _matters(field: str) -> bool:
    """Tell whether a setting can change what a run comes to."""
    return _top(field) not in _NO_MATTER


def _top(field: str) -> str:
    """Return the part of the settings that a dotted field is in."""
    return field.partition(".")[0]


def _stem(run: RunResult) -> str:
    """Return how a folder's name begins, before the seed."""
    return re.sub(rf"-{run.summary.seed}{_STAMP}", "", run.folder.resolve().name)


def _name(place: int, stems: Sequence[set[str]], key: Mapping[str, str]) -> str:
    """Return what all folders of an arm begin with, if no other's do, or the settings that set it apart, if few."""
    (first, *others) = sorted(stems[place])
    if not others and sum(first in one for one in stems) == 1:
        return first
    told = ", ".join(f"{field}={value}" for field, value in key.items()) or "all"
    return told if len(told) <= _LONGEST_NAME else f"{first} ({place + 1})"


def flat(node: object, field: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted field, value as text) of everything in `node`."""
    if isinstance(node, dict) and (node or not field):
        for key, value in node.items():
            yield from flat(value, f"{field}.{key}" if field else str(key))
    else:
        whole = isinstance(node, float) and node.is_integer()  # 1.0 is 1, however it was written
        yield field, "null" if node is None else f"{node:.0f}" if whole else str(node)
