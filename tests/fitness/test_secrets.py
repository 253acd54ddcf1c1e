"""Keys and tokens are hidden wherever a text or a configuration goes."""

import pytest

from fitness.errors import describe
from fitness.secrets import hide, is_secret, without_secrets

KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    monkeypatch.setenv("SHORT_TOKEN", "no")


@pytest.mark.parametrize(
    "name", ["api_key", "HF_TOKEN", "WANDB_API_KEY", "password", "aws.secret", "db-passwd", "key", "APIKEY"]
)
def test_names_that_say_so(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["monkey", "tokens", "prompt_tokens", "keyboard", "seed", "tokenizer", "turkey"])
def test_names_that_do_not(name: str) -> None:
    assert not is_secret(name)


def test_texts_lose_the_environments_secrets_and_nothing_else() -> None:
    assert hide(f"https://x/?key={KEY} is no good") == "https://x/?key=*** is no good"
    assert describe(RuntimeError(f"401 for {KEY}")) == "RuntimeError: 401 for ***"


def test_configurations_keep_a_reference_or_nothing() -> None:
    tree = {"a": {"api_key": KEY, "password": "hunter22", "name": "x"}, "b": [KEY, f"see {KEY}"], "key": 7, "token": ""}
    assert without_secrets(tree) == {
        "a": {"api_key": "${oc.env:SOME_API_KEY}", "password": "***", "name": "x"},
        "b": ["${oc.env:SOME_API_KEY}", "see ${oc.env:SOME_API_KEY}"],
        "key": 7,
        "token": "",
    }
