"""A run ends where another generation would pass its budget, and goes on to the same end after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.budget import Pace
from evo.config import BudgetConfig
from evo.records import Budget
from fitness.errors import ConfigError
from fitness.telemetry import read_table
from tests.integration.runs import OVERRIDES, command, content, kill_at_write, said, work


def spent(decisions: int, forward: float = 0.0, training: float = 0.0) -> Budget:
    return Budget(decisions=decisions, forward_flops=forward, training_flops=training)


def ends(limit: BudgetConfig, before: Budget, now: Budget, finals: int = 1) -> bool:
    return Pace(begun=before).next(now, limit, finals, planned=False).ended


def test_the_last_generation_is_the_one_after_which_no_two_more_would_fit() -> None:
    limit = BudgetConfig(decisions=1000)
    assert not ends(limit, spent(700), spent(800))  # 100 and 100 fit exactly
    assert ends(limit, spent(700), spent(801))
    assert not ends(limit, spent(500), spent(600), finals=3)  # 100 and 300
    assert ends(limit, spent(500), spent(601), finals=3)


def test_training_counts_but_not_in_the_last_generation() -> None:
    limit = BudgetConfig(flops=100.0)
    # The latest took 10 to live and 20 to train; two more take 10 + 20 and 10.
    assert not ends(limit, spent(0, 10, 20), spent(0, 20, 40))
    assert ends(limit, spent(0, 10, 20), spent(0, 20, 41))


def test_without_a_budget_the_number_of_generations_decides() -> None:
    assert not ends(BudgetConfig(), spent(0), spent(10**9, 1e30, 1e30))
    assert Pace().next(spent(5), BudgetConfig(), 1, planned=True) == Pace(begun=spent(5), ended=True)


@given(st.integers(1, 4), st.lists(st.integers(80, 120), min_size=30, max_size=30), st.integers(500, 2000))
def test_a_run_ends_within_a_generation_of_its_budget(finals: int, prices: list[int], budget: int) -> None:
    pace, total = Pace(), 0
    for price in prices:
        pace = pace.next(spent(total), BudgetConfig(decisions=budget), finals, planned=False)
        total += price * (finals if pace.ended else 1)
        if pace.ended:
            break
    # Prices are 100, give or take 20: it cannot know those of generations to come.
    assert budget - 120 - 40 * finals <= total <= budget + 40 * (finals + 1)


@pytest.mark.parametrize("field", ["decisions", "flops"])
def test_a_budget_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"{field}: expected .* null for no limit, given 0"):
        BudgetConfig(**{field: 0})


def begin(folder: Path, budget: str = "budget.decisions=1300", kill: int | None = None) -> int | None:
    """Run until a budget is spent or the run is killed; return the exit code."""
    mine = [one for one in OVERRIDES if not one.startswith("generations")]
    more = ["generations=50", "finals=2", budget, f"hydra.run.dir={folder}"]
    process = command(folder, "evolve", *mine, *more, plant=kill_at_write(kill) if kill else None)
    process.join(120)
    return process.exitcode


def test_a_run_stops_at_its_budget_of_flops(tmp_path: Path) -> None:
    limit = 3e11
    assert begin(tmp_path / "run", f"budget.flops={limit}") == 0, said(tmp_path / "run")
    table = read_table(tmp_path / "run", "generations").to_pylist()
    spent = [row["forward_flops"] + row["training_flops"] for row in table]
    assert len(table) >= 3
    assert table[-1]["training_flops"] == table[-2]["training_flops"] > table[-1]["forward_flops"] / 10
    assert abs(spent[-1] - limit) <= np.diff([0.0, *spent]).max()


def test_a_run_stops_at_its_budget_also_after_a_kill(tmp_path: Path) -> None:
    whole, cut = tmp_path / "a" / "run", tmp_path / "b" / "run"
    assert begin(whole) == 0, said(whole)
    assert begin(cut, kill=60) != 0
    process = work(cut)
    process.join(120)
    assert process.exitcode == 0, said(cut)
    assert content(cut) == content(whole)
    table = read_table(whole, "generations").to_pylist()
    lived = [row["episodes"] for row in table]
    assert len(lived) >= 3
    assert lived == [8] * (len(lived) - 1) + [16]  # the last in twice as many worlds
    assert table[-1]["generations"] == len(table)
    assert table[-1]["training_flops"] == table[-2]["training_flops"] > 0  # and nobody is tuned for nothing
    budget = json.loads((whole / "summary.json").read_text())["budget"]
    assert [budget[name] for name in ("decisions", "forward_flops")] == pytest.approx(
        [table[-1]["decisions"], table[-1]["forward_flops"]], rel=0.05
    )
    ordinary = np.diff([0, *(row["decisions"] for row in table)])[:-1].max()
    assert abs(budget["decisions"] - 1300) <= ordinary
