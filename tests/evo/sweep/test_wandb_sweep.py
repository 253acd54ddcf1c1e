"""The sweep for W&B's agents: what they would begin, by W&B's own builder of arguments, is a run of Forager's."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evo.build import build_run
from evo.cli import COMMANDS
from evo.compose import CONF_FOLDER, NO_GROUPS
from evo.tracking.curves import curves
from tests.evo import fake_run

SWEEPS = sorted(path for folder in NO_GROUPS for path in (CONF_FOLDER / folder).glob("*.yaml"))
DRAWS = ("min", "max")


def command_line(sweep: dict[str, Any], values: dict[str, object]) -> list[str]:
    """Return what an agent would begin."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    built = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros = {**built, "program": [sweep["program"]], "env": ["/usr/bin/env"]}
    words: list[str] = []
    for word in create_sweep_command(list(sweep["command"])):
        words += macros[word[2:-1]] if word.startswith("${") else [word]
    return words


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("place", [0, -1])
def test_an_agent_begins_a_run_that_can_be_made(path: Path, place: int) -> None:
    sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
    values = {
        name: field["values"][place] if "values" in field else field[DRAWS[place]]
        for name, field in sweep["parameters"].items()
    }
    env, forager, evolve, *overrides = command_line(sweep, values)
    assert (env, forager) == ("/usr/bin/env", "forager")
    assert evolve in COMMANDS
    assert f"finetune.beta={values['finetune.beta']}" in overrides
    config = build_run(overrides).config
    assert config.finetune.beta == values["finetune.beta"]  # type: ignore[union-attr]
    assert config.tracking["wandb"].mode == "online"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_what_it_raises_is_logged_and_is_of_no_held_out_world(path: Path) -> None:
    metric = yaml.safe_load(path.read_text(encoding="utf-8"))["metric"]
    assert metric["name"] in curves(fake_run.record(0), fake_run.genomes(0))
    assert metric["goal"] == "maximize"
