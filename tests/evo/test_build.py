"""Components: plain values become frozen objects, and what cannot be made is named by its dotted field."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from evo.build import build_run, instantiate_component
from fitness.errors import ConfigError

HERE = __name__


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate: expected above 0 and at most 1, given {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    size: int
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ConfigError(f"size: expected at least 2, given {self.size}")
        if len(self.names) > self.size:
            raise ConfigError("the names do not fit the size")


def node(name: str = "Outer", **values: Any) -> dict[str, Any]:
    return {"_target_": f"{HERE}.{name}", **values}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules[Outer.__module__])


def test_components_are_made_at_every_depth() -> None:
    made = instantiate_component(node(size=3, inner=node("Inner", rate=1), names=["a"], extra={"b": 2}), "selection")
    assert made == Outer(size=3, inner=Inner(rate=1.0), names=("a",), extra={"b": 2.0})
    assert isinstance(made.inner.rate, float)


def test_a_null_target_is_none() -> None:
    assert instantiate_component({"_target_": None, "left": "over"}, "finetune") is None


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (node(size=1), r"selection\.size: expected at least 2, given 1"),
        (node(size="x"), r"selection\.size: expected a whole number, given 'x'"),
        (node(), r"selection\.size: expected a whole number, given nothing"),
        (
            node(siz=3, size=3),
            r"selection\.siz: expected a field .*\(size, .*given siz=3 \(did you mean 'size'",
        ),
        (node(size=3, inner=node("Inner", rate=2.0)), r"selection\.inner\.rate: expected above 0 .* given 2\.0"),
        (node(size=3, inner=4), r"selection\.inner: expected Inner, given 4"),
        (node(size=2, names=["a", "b", "c"]), r"selection: the names do not fit the size"),
        (node("Outr", size=3), r"selection\._target_: expected the dotted path of a class, .*did you mean 'Outer'"),
        ({"_target_": "no_such_module.Thing"}, r"selection\._target_: .*given 'no_such_module\.Thing'.*No module"),
        ({"_target_": "nodots"}, r"selection\._target_: expected the dotted path of a class, given 'nodots'"),
        ({"_target_": "os.system", "command": "true"}, r"selection\._target_: .*'os\.system', which could run any"),
    ],
)
def test_a_mistake_names_its_field(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        instantiate_component(values, "selection")
    assert len(str(caught.value).splitlines()) == 1


def test_all_mistakes_of_a_component_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        instantiate_component(node(siz=3, size="x", inner=node("Inner", rate=7)), "a")
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["a.inner.rate", "a.siz", "a.size"]


def test_a_fingerprint_is_of_the_settings_but_not_of_comments_and_secrets() -> None:
    plan = replace(build_run(["experiment=tiny"]), yaml="seed: 0\nmine:\n  api_key: '***'\n  rate: 1.0\n")
    same = "# a note\nmine: {rate: 1.0, api_key: sk-live}\nseed: 0\r\n"
    assert replace(plan, yaml=same).fingerprint == plan.fingerprint
    for other in ("seed: 1", "seed: 0\nmore: 1"):
        assert replace(plan, yaml=plan.yaml.replace("seed: 0", other)).fingerprint != plan.fingerprint
    assert build_run(["experiment=tiny"]).fingerprint == build_run(["experiment=tiny"]).fingerprint
