"""Runs group by experiment and arm without being told."""

from pathlib import Path

import pytest

from evo.build import build_run
from evo.tracking.naming import LONGEST, labels_of

SETTINGS = {
    "algorithm": {"_target_": "evo.algorithms.generational.GenerationalConfig"},
    "finetune": {"_target_": "finetune.methods.dpo.DPO"},
}


@pytest.mark.parametrize(
    ("folder", "experiment", "group", "arm"),
    [
        ("outputs/ablation-short/joint-3", "ablation/joint", "ablation-short", "joint"),
        ("outputs/ablation-short/joint-3", "", "ablation-short", "joint"),
        ("outputs/ablation/joint-3-20261016-101500", "ablation/joint", "ablation", "joint"),
        ("outputs/quickstart-3-20261016-101500-2", "quickstart", "quickstart", "Generational + DPO"),
        ("outputs/first", "tiny", "tiny", "Generational + DPO"),
        ("outputs/mine-3", "", "mine", "Generational + DPO"),
        ("outputs/-3", "", "-3", "Generational + DPO"),
    ],
)
def test_group_and_arm_are_read_off_the_folder_and_the_settings(
    folder: str, experiment: str, group: str, arm: str
) -> None:
    path = Path(folder)
    found = labels_of(
        folder=path, run=path.name, seed=3, environment="forage", experiment=experiment, settings=SETTINGS
    )
    assert (found.group, found.arm) == (group, arm)
    assert found.tags == (arm, "forage", "Generational", "DPO")


def test_without_fine_tuning_the_arm_and_a_tag_say_so() -> None:
    settings = {**SETTINGS, "finetune": {"_target_": None}}
    found = labels_of(
        folder=Path("outputs/a"), run="a", seed=0, environment="W" * 90, experiment="tiny", settings=settings
    )
    assert found.arm == "Generational + no fine-tuning"
    assert found.tags == (found.arm, "W" * LONGEST, "Generational", "no fine-tuning")


def test_a_configuration_knows_the_experiment_that_it_was_begun_with() -> None:
    plan = build_run(["experiment=ablation/selection"])
    assert plan.config.tracking["wandb"].experiment == "ablation/selection"  # type: ignore[attr-defined]
    assert "experiment: ablation/selection" in plan.yaml
