"""What ships in conf/: every part can be made, names all its fields, and every field is read by somebody."""

import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evo.build import Plan, build_run
from evo.compose import CONF_FOLDER, NO_GROUPS, compose_run
from evo.config import RunConfig
from fitness.errors import ConfigError


def slot(path: Path) -> str:
    return path.relative_to(CONF_FOLDER).parts[0]


ROOT = CONF_FOLDER.parent
GOLDEN = ROOT / "tests" / "golden" / "config"
PARTS = sorted(path for path in CONF_FOLDER.glob("*/**/*.yaml") if slot(path) not in ("experiment", *NO_GROUPS))
EXPERIMENTS = sorted(path.stem for path in (CONF_FOLDER / "experiment").glob("*.yaml"))


def choice(path: Path) -> str:
    return f"{path.parent.relative_to(CONF_FOLDER).as_posix()}={path.stem}"


@cache
def plan(override: str) -> Plan:
    return build_run((override,))


@cache
def sources() -> str:
    files = sorted(path for package in ("evo", "finetune", "fitness") for path in (ROOT / package).rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def components(name: str, node: Any, made: Any) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield (dotted name, YAML node, component) for a part and every component inside it."""
    if not isinstance(node, dict) or made is None:
        return
    if "_target_" in node:
        yield name, node, made
    for key, value in node.items():
        inner = made.get(key) if isinstance(made, dict) else getattr(made, key, None)
        yield from components(f"{name}.{key}", value, inner)


@pytest.mark.parametrize("path", PARTS, ids=choice)
def test_every_part_can_be_made_and_names_all_its_fields(path: Path) -> None:
    group, override = slot(path), choice(path)
    node = compose_run([override]).tree[group]
    for name, inner, made in components(group, node, getattr(plan(override).config, group)):
        fields = {field.name for field in dataclasses.fields(made)}
        assert inner.keys() - {"_target_"} == fields, name


@pytest.mark.parametrize("path", PARTS, ids=choice)
def test_every_field_is_read_by_somebody(path: Path) -> None:
    group, override = slot(path), choice(path)
    node = compose_run([override]).tree[group]
    fields = [
        f"{name}.{field}"
        for name, inner, _ in components(group, node, getattr(plan(override).config, group))
        for field in inner
        if field != "_target_"
    ]
    assert not [field for field in fields if not re.search(rf"\.{field.rpartition('.')[2]}\b", sources())]


def test_every_number_of_the_run_is_read_by_somebody() -> None:
    fields = [field.name for field in dataclasses.fields(RunConfig)]
    assert not [name for name in fields if not re.search(rf"(config|numbers)\.{name}\b", sources())]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_is_what_was_reviewed(experiment: str) -> None:
    # A change of a default shows here in full, for every run that it changes. After a change that is meant:
    # forager config experiment=NAME > tests/golden/config/NAME.yaml
    stored = GOLDEN / f"{experiment}.yaml"
    assert stored.is_file(), f"no snapshot of {experiment}: make one with the command above"
    assert compose_run([f"experiment={experiment}"]).yaml == stored.read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ["engine.mode=generate", "engine=worker engine.engine.mode=generate"])
def test_words_are_refused_to_a_method_that_compares_all_actions(engine: str) -> None:
    for method in ("advantage_weighted", "return_regression"):
        with pytest.raises(ConfigError, match="finetune: expected a method that needs no more than how likely an answ"):
            build_run(("experiment=tiny", f"finetune={method}", *engine.split()))
    assert build_run(("experiment=tiny", "finetune=grpo", *engine.split())).config.finetune
    assert build_run(("experiment=tiny", "finetune=none", *engine.split())).config.finetune is None


def test_the_resolved_configuration_holds_every_default() -> None:
    text = plan("experiment=tiny").yaml
    assert "crossover_rate: 0.5" in text
    assert "_target_: evo.operators.selection.Tournament" in text


@pytest.mark.parametrize("finetune", ["rejection", "crr", "grpo", "distillation"])
def test_a_beta_that_nobody_would_look_at_is_not_bred(finetune: str) -> None:
    bred = ("variation.adaptation.beta=[0.5,2.0]",)
    assert build_run(("finetune=dpo", *bred)).config.variation
    with pytest.raises(
        ConfigError, match=r"variation.adaptation.beta: expected null, for \w+ as it is set has no beta"
    ):
        build_run((f"finetune={finetune}", *bred))


def test_weights_that_begin_anew_have_no_past_to_go_on_from() -> None:
    with pytest.raises(ConfigError, match=r"finetune.trainer.moments: expected reset with start base"):
        build_run(("finetune=rest", "finetune.trainer.moments=inherit"))


def test_what_is_learnt_from_must_be_kept() -> None:
    with pytest.raises(ConfigError, match=r"retention\.telemetry: expected null or at least 4.*given 3"):
        build_run(["experiment=tiny", "lookback=4", "retention.telemetry=3"])
    assert build_run(["experiment=tiny", "lookback=4", "retention.telemetry=4"]).config.lookback == 4
