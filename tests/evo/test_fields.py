"""Values from YAML fit the annotations they are meant for, or are refused in plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from evo.fields import describe, fit


@pytest.mark.parametrize(
    ("value", "hint", "fitted"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (0.5, float, 0.5),
        ("a", str, "a"),
        (True, bool, True),
        ("a/b", Path, Path("a/b")),
        (None, int | None, None),
        (3, float | int, 3),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, 2], tuple[float, float], (1.0, 2.0)),
        ([1], Sequence[int], (1,)),
        ([1], list[float], [1.0]),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ("fast", Literal["fast", "slow"], "fast"),
        ({"anything": 1}, Any, {"anything": 1}),
        (None, object, None),
    ],
)
def test_values_that_fit(value: object, hint: object, fitted: object) -> None:
    made = fit(value, hint)
    assert made == fitted
    assert type(made) is type(fitted)


@pytest.mark.parametrize(
    ("value", "hint", "complaint"),
    [
        ("three", int, "expected a whole number, given 'three'"),
        (True, int, "expected a whole number, given True"),
        (0.5, int, "expected a whole number, given 0.5"),
        ("x", float, "expected a number, given 'x'"),
        (True, float, "expected a number, given True"),
        (1, str, "expected a text, given 1"),
        (1, bool, "expected true or false, given 1"),
        (None, int, "expected a whole number, given None"),
        ("x", int | None, "expected a whole number or null, given 'x'"),
        ("xs", tuple[str, ...], "expected a list of a text, given 'xs'"),
        ([1, 2, 3], tuple[float, float], r"expected a list of 2, given \[1, 2, 3\]"),
        ([1, "x"], tuple[int, ...], "expected a whole number, given 'x'"),
        ([1], Mapping[str, int], r"expected a mapping, given \[1\]"),
        ("fats", Literal["fast", "slow"], r"one of fast, slow, given 'fats' \(did you mean 'fast'\?\)"),
    ],
)
def test_values_that_do_not_fit(value: object, hint: object, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        fit(value, hint)


class Component:
    pass


def test_a_component_is_of_its_class() -> None:
    component = Component()
    assert fit(component, Component) is component
    with pytest.raises(TypeError, match="expected Component, given 3"):
        fit(3, Component)


def test_types_in_plain_words() -> None:
    assert describe(tuple[int, ...]) == "a list of a whole number"
    assert describe(int | None) == "a whole number or null"
