"""Composition: files and overrides become one plain tree, and mistakes one sentence each."""

from pathlib import Path

import pytest
import yaml

from evo.compose import CONF_FOLDER, NO_GROUPS, compose_run
from fitness.errors import ConfigError

GROUPS = sorted(
    path.name for path in CONF_FOLDER.iterdir() if path.is_dir() and path.name not in ("__pycache__", *NO_GROUPS)
)
EXPERIMENTS = sorted(path.stem for path in (CONF_FOLDER / "experiment").glob("*.yaml"))


def test_the_default_is_the_quickstart() -> None:
    assert compose_run([]).tree == compose_run(["experiment=quickstart"]).tree


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment: str) -> None:
    composition = compose_run([f"experiment={experiment}"])
    assert composition.experiment == experiment
    assert composition.folder.parts[0] == "outputs"
    assert composition.folder.name.startswith(f"{experiment}-{composition.tree['seed']}-")
    assert yaml.safe_load(composition.yaml) == composition.tree


@pytest.mark.parametrize(
    "choice",
    [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF_FOLDER / group).glob("*.yaml"))],
)
def test_every_file_of_every_group_composes(choice: str) -> None:
    assert compose_run([choice]).tree


def test_overrides_reach_every_depth() -> None:
    tree = compose_run(["seed=7", "environment.size=20", "tracking.wandb.tags=[a,b]", "+model.suffix='?'"]).tree
    assert tree["seed"] == 7
    assert tree["environment"]["size"] == 20
    assert tree["tracking"]["wandb"]["tags"] == ["a", "b"]
    assert tree["model"]["suffix"] == "?"


def test_the_command_line_wins_over_the_experiment() -> None:
    assert compose_run(["generations=3", "experiment=tiny"]).tree["generations"] == 3
    assert compose_run(["experiment=tiny", "finetune=none"]).tree["finetune"] == {"_target_": None}


def test_the_run_folder_is_honoured() -> None:
    assert compose_run(["hydra.run.dir=some/where", "seed=3"]).folder == Path("some/where")
    assert compose_run(["hydra.run.dir=runs/${seed}", "seed=3"]).folder == Path("runs/3")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("enviroment=forage", r"enviroment: expected a field of the run.*given enviroment=forage.*'environment'"),
        ("environment=forag", r"environment: expected one of .*forage.*, given forag \(did you mean 'forage'\?\)"),
        ("experiment=quikstart", r"experiment: expected one of .*, given quikstart \(did you mean 'quickstart'\?\)"),
        ("experiment=null", r"experiment: expected one of .*, given null"),
        ("populaton=8", r"populaton: expected a field of the run.*given populaton=8 \(did you mean 'population'\?\)"),
        ("population", r"overrides: expected field=value, given 'population'"),
        ("population=[1", r"overrides: expected field=value, given 'population=\[1'"),
        ("population=4,8", r"population: expected one value as field=value, given 'population=4,8'; .*--multirun"),
        ("sweep=wandb", r"sweep: expected a field or a group of the run, given sweep=wandb"),
        ("~seed", r"seed: expected one value as field=value, given '~seed'"),
        ("seed=${sead}", r"seed|hydra\.run\.dir: expected a value, given one that cannot be resolved .*'sead'"),
        ("generations=???", r"generations: expected a value"),
        ("hydra.rum.dir=x", r"hydra\.rum\.dir: expected one of .*did you mean 'hydra\.run\.dir'"),
        ("hydra/launcher=basic", r"hydra/launcher: expected one of hydra\.run\.dir"),
    ],
)
def test_a_mistake_is_one_sentence(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        compose_run([override])
    assert len(str(caught.value).splitlines()) == 1


def test_a_part_that_is_switched_off_has_no_fields() -> None:
    with pytest.raises(ConfigError, match=r"finetune\.rate: expected no field, .* given finetune\.rate=3"):
        compose_run(["finetune=none", "finetune.rate=3"])


def test_a_user_can_bring_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "selection").mkdir()
    (tmp_path / "selection" / "mine.yaml").write_text("_target_: my_package.Mine\npressure: 2.0\n")
    place = f"hydra.searchpath=[file://{tmp_path}]"
    assert compose_run([place, "selection=mine"]).tree["selection"] == {"_target_": "my_package.Mine", "pressure": 2.0}
    with pytest.raises(ConfigError, match=r"given mime \(did you mean 'mine'\?\)"):
        compose_run([place, "selection=mime"])


def test_a_file_that_is_no_yaml_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: [1\n")
    with pytest.raises(ConfigError, match=r"conf: expected files that can be composed, .*config\.yaml"):
        compose_run([], tmp_path)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compose_run(["environment=forag", "population", "model=orgnism"])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["environment", "overrides", "model"]


def test_a_field_that_repeats_another_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "quickstart.yaml").write_text("# @package _global_\nseed: 3\n")
    (tmp_path / "config.yaml").write_text(
        "defaults: [_self_, {experiment: quickstart}]\nalgorithm: {n: '${population}'}\npopulation: 8\nseed: 0\n"
        "hydra: {run: {dir: 'outputs/${seed}'}}\n"
    )
    composition = compose_run([], tmp_path)
    assert composition.links == {"algorithm.n": "population"}
    assert composition.tree == {"algorithm": {"n": 8}, "population": 8, "seed": 3}
    assert composition.folder == Path("outputs/3")


def test_an_experiment_that_names_no_file_is_one_sentence(tmp_path: Path) -> None:
    for name in ("experiment/quickstart", "selection/tournament"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "experiment/quickstart.yaml").write_text(
        "# @package _global_\ndefaults: [{override /selection: turnament}]\n"
    )
    (tmp_path / "selection/tournament.yaml").write_text("size: 3\n")
    (tmp_path / "config.yaml").write_text("defaults: [{selection: tournament}, _self_, {experiment: quickstart}]\n")
    with pytest.raises(ConfigError, match=r"selection: .* given turnament \(did you mean 'tournament'\?\)"):
        compose_run([], tmp_path)


@pytest.mark.parametrize(
    ("given", "folder"),
    [("outputs/lr=0.001", "outputs/lr=0.001"), ("läufe/ü (1)", "läufe/ü (1)"), ("it's;#1&!", "it's;#1&!")],
)
def test_a_path_may_hold_any_character(given: str, folder: str) -> None:
    assert compose_run([f"hydra.run.dir={given}"]).folder == Path(folder)


def test_a_tilde_is_the_home_folder() -> None:
    assert compose_run(["hydra.run.dir=~/run"]).folder == Path.home() / "run"
