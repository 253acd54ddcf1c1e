"""A hundred runs in a world that hears nobody: nothing is declared there, and what looks good is not believed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.ablate import Ablation, ablate
from evo.report.arms import read_result
from evo.report.differences import mann_whitney

ARMS = (
    "adapter_only", "best_of_n", "expert_rules", "finetune_only", "frozen", "joint", "low_rank_es", "prompt_only",
    "random_selection", "selection",
)  # fmt: skip
SEEDS = 10
CHEAP = (
    "environment._target_=tests.fitness.environments.deaf.DeafConfig", "tracking=none", "split=null",
    "population=8", "elites=2", "episodes=4", "finals=1", "heldout=32", "budget.decisions=2400",
)  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of an ablation where no arm can be better than another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("deaf"))
        ablation = Ablation(arms=ARMS, seeds=SEEDS, name="deaf", overrides=CHEAP)
        ablate(ablation)
        yield ablation.folder.resolve()


def contrasts(folder: Path) -> list[dict[str, Any]]:
    """Return what the comparison says of all pairs."""
    found: list[dict[str, Any]] = json.loads((folder / "comparison" / "comparison.json").read_text())["contrasts"]
    assert len(found) == len(ARMS) * (len(ARMS) - 1) // 2
    return found


def test_differences_are_declared_at_no_more_than_the_nominal_rate(folder: Path) -> None:
    pairs = contrasts(folder)
    assert min(pair["p_holm"] for pair in pairs) > 0.05
    # Of 45 pairs 5% are 2; pairs that share an arm are wrong together.
    assert sum(pair["p"] < 0.05 for pair in pairs) <= 7
    assert sum(not pair["difference"]["low"] <= 0 <= pair["difference"]["high"] for pair in pairs) <= 8


def test_the_best_of_all_that_lived_looks_good_and_held_out_worlds_know_better(folder: Path) -> None:
    results = [read_result(folder / f"{arm}-{seed}") for arm in ARMS for seed in range(SEEDS)]
    naive = [max(record.best for record in one.generations) for one in results]
    heldout = [one.evolved.score for one in results]
    born = [dict(one.summary.heldout)["frozen"].score for one in results]
    assert mann_whitney([naive], [born]) < 1e-6
    assert np.mean(naive) > 5 * abs(np.mean(heldout))
    assert mann_whitney([heldout], [born]) > 0.05
