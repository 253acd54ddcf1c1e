"""A hundred runs in a world that hears nobody: nothing is declared there, and what looks good is not believed."""

import json
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from evo.ablate import Task
from evo.outputs import is_finished
from evo.processes import cores
from evo.report.arms import RunResult, read_result
from evo.report.compare import write_comparison
from evo.report.differences import mann_whitney
from tests.integration.runs import command, said

ARMS = (
    "adapter_only", "best_of_n", "expert_rules", "frozen", "joint", "low_rank_es", "prompt_only", "random_selection",
    "selection",
)  # fmt: skip
SEEDS = 12
CHEAP = (
    "environment._target_=tests.fitness.environments.deaf.DeafConfig", "tracking=none", "split=null",
    "population=8", "elites=2", "episodes=2", "finals=1", "heldout=32", "budget.decisions=2000",
)  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def side_by_side(tasks: Sequence[Task]) -> None:
    """Do all runs, as many at a time as there are cores, in processes that have imported everything already."""
    waiting, running = deque(tasks), dict[Task, Any]()
    while waiting or running:
        while waiting and len(running) < cores():
            task = waiting.popleft()
            running[task] = command(task.folder, *task.command()[3:])
        for task, process in list(running.items()):
            if not process.is_alive():
                del running[task]
                assert is_finished(task.folder), said(task.folder)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[RunResult]:
    """Return runs of arms none of which can be better; no two share a seed, with which they would share their luck."""
    place = tmp_path_factory.mktemp("deaf")
    tasks = [
        Task(arm=arm, seed=number * SEEDS + seed, folder=place / f"{arm}-{number * SEEDS + seed}", overrides=CHEAP)
        for number, arm in enumerate(ARMS)
        for seed in range(SEEDS)
    ]
    side_by_side(tasks)
    return [read_result(task.folder) for task in tasks]


def test_differences_are_declared_at_no_more_than_the_nominal_rate(results: list[RunResult]) -> None:
    write_comparison([one.folder for one in results])
    told = json.loads((results[0].folder.parent / "comparison" / "comparison.json").read_text())
    pairs: list[dict[str, Any]] = told["contrasts"]
    assert len(pairs) == len(ARMS) * (len(ARMS) - 1) // 2 == 36
    assert min(pair["p_holm"] for pair in pairs) > 0.05
    # Of 36 pairs 5% are 2; pairs that share an arm are wrong together.
    assert sum(pair["p"] < 0.05 for pair in pairs) <= 6
    assert sum(not pair["difference"]["low"] <= 0 <= pair["difference"]["high"] for pair in pairs) <= 7


def test_the_best_of_all_that_lived_looks_good_and_held_out_worlds_know_better(results: list[RunResult]) -> None:
    naive = [max(record.best for record in one.generations) for one in results]
    heldout = [one.evolved.score for one in results]
    born = [dict(one.summary.heldout)["frozen"].score for one in results]
    assert mann_whitney([naive], [born]) < 1e-6
    assert mann_whitney([heldout], [born]) > 0.05
    assert np.mean(naive) - np.mean(born) > 5 * abs(np.mean(heldout) - np.mean(born))


def test_scores_are_as_far_apart_as_luck_makes_them(results: list[RunResult]) -> None:
    scores = [one.evolved.score for one in results]
    assert len(set(scores)) > 0.9 * len(scores)
    assert np.std(scores) > 0.03
