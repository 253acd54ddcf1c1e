"""Any value in any field of a configuration works or is refused in a sentence that names the field."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evo.build import build_run, read_plan
from evo.compose import compose_run, to_yaml
from tests.fuzz.cases import fuzzed, patient, works_or_says_why

pytestmark = patient


def leaves(node: Any, field: str = "") -> Iterator[str]:
    """Yield every dotted field of a configuration."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{field}.{name}" if field else name)
    else:
        yield field


FIELDS = [name for name in leaves(compose_run([]).tree) if "_target_" not in name]
TARGETS = [name for name in leaves(compose_run([]).tree) if "_target_" in name]
VALUES = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=60),
    st.sampled_from(
        [
            "nan",
            "-inf",
            "1e400",
            "[]",
            "[1,2",
            "{a: 1}",
            "${seed}",
            "${nothing}",
            "${oc.env:HOME}",
            "???",
            "null",
            "~",
            "'",
            "\x00",
            "\u202e",
            "a" * 10_000,
        ]
    ),
    st.lists(st.integers(), max_size=3),
)


@fuzzed
@given(field=st.sampled_from(FIELDS), value=VALUES)
def test_any_value_of_any_field(field: str, value: object) -> None:
    with works_or_says_why():
        build_run([f"{field}={value}"])


@fuzzed
@given(
    field=st.sampled_from(TARGETS),
    value=st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            [
                "os.system",
                "builtins.eval",
                "subprocess.run",
                "evo.config",
                "fitness.adapter.Adapter",
                "evo.cli.main",
                "pathlib.Path",
                "nowhere.Nothing",
            ]
        ),
    ),
)
def test_any_component_of_any_part(field: str, value: str) -> None:
    with works_or_says_why():
        build_run([f"{field}={value}"])


@fuzzed
@given(text=st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda b: b.decode("latin-1"))))
def test_any_override(text: str) -> None:
    with works_or_says_why():
        build_run([text])


@fuzzed
@given(data=st.data())
def test_a_config_file_that_was_altered(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("run")
    text = to_yaml(compose_run([]).tree)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    (folder / "config.yaml").write_text(
        text[:start] + data.draw(st.text(max_size=20)) + text[end:], encoding="utf-8", errors="replace"
    )
    with works_or_says_why():
        read_plan(folder)
