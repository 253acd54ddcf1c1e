"""The summary is the JSON that is promised; records fit the tables that keep them."""

import json
from dataclasses import replace

import pytest

from evo.records import HeldOut, Summary
from fitness.errors import OutputError
from fitness.telemetry import SCHEMAS
from tests.evo import fake_run


def test_summary_json_has_exactly_the_promised_fields() -> None:
    content = json.loads(fake_run.summary().to_json())
    assert list(content) == ["run", "environment", "seed", "heldout", "budget"]
    assert list(content["heldout"]) == ["random", "frozen", "evolved", "expert"]
    assert content["heldout"]["frozen"] == {"score": 0.213, "ci": [0.183, 0.243], "lifespan": 33.1, "episodes": 256}
    assert content["budget"] == {
        "decisions": 1_200_000,
        "forward_flops": 3.5e14,
        "training_flops": 6e13,
    }


def test_summary_comes_back_as_it_was() -> None:
    summary = fake_run.summary()
    assert Summary.from_json(summary.to_json()) == summary
    row = HeldOut(score=0.5, ci=(0.4, 0.6), lifespan=60.0, episodes=256)
    divided = replace(summary, split=tuple((name, row) for name in ("neither", "prompt", "weights", "both")))
    assert list(json.loads(divided.to_json())) == ["run", "environment", "seed", "heldout", "split", "budget"]
    assert Summary.from_json(divided.to_json()) == divided


def test_a_number_that_json_cannot_hold_becomes_null() -> None:
    nan = float("nan")
    broken = replace(
        fake_run.summary(), heldout=(("evolved", HeldOut(score=nan, ci=(nan, 1.0), lifespan=3.0, episodes=1)),)
    )
    assert json.loads(broken.to_json())["heldout"]["evolved"]["ci"] == [None, 1.0]
    assert Summary.from_json(broken.to_json()).heldout[0][1].ci[1] == 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "expected the summary of a run"),
        ("[]", "expected the summary of a run"),
        ('{"run": "x", "environment": "e", "seed": 0, "heldout": {}}', "expected the field 'budget', found none"),
    ],
)
def test_a_foreign_file_is_refused(text: str, told: str) -> None:
    with pytest.raises(OutputError, match=told):
        Summary.from_json(text)


def test_records_fit_their_tables() -> None:
    assert set(fake_run.record(0).row()) == set(SCHEMAS["generations"].names) - {"run"}
    assert set(fake_run.genomes(0)[0].row()) == set(SCHEMAS["genomes"].names) - {"run"}
