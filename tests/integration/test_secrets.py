"""A run with keys all around it leaves none of them anywhere."""

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.integration.runs import OVERRIDES, command, said

SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef" * 2,
    "HF_TOKEN": "hf_QwErTyUiOpAsDfGh",
    "OPENAI_API_KEY": "sk-live-abcdef0123456789",
}


def plant() -> None:
    sys.argv = ["forager", "evolve", *SECRETS.values()]  # as the shell gave them
    os.environ.update(SECRETS)
    os.environ["WANDB_MODE"] = "offline"


@pytest.mark.fault("keys and tokens in the environment or in a configuration", "none is in any file or message")
def test_no_secret_is_in_any_file_or_message(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    mine = [one for one in OVERRIDES if not one.startswith("tracking")]
    project = f"tracking.wandb.project={SECRETS['HF_TOKEN']}"
    literal = f"model.suffix={SECRETS['OPENAI_API_KEY']}"  # the resolved value of a field is no safer than a reference
    process = command(
        folder, "evolve", *mine, "generations=2", literal, project, f"hydra.run.dir={folder}", plant=plant
    )
    process.join(120)
    assert process.exitcode == 0, said(folder)
    found = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for path in [path for path in found if path.suffix == ".parquet"]:
        found[path] += str(pq.read_table(path).to_pydict()).encode()
    assert any(path.suffix == ".wandb" for path in found)
    for value in SECRETS.values():
        assert not [str(path.relative_to(tmp_path)) for path, data in found.items() if value.encode() in data]
    assert "suffix: ${oc.env:OPENAI_API_KEY}" in (folder / "config.yaml").read_text()


def test_a_mistake_does_not_repeat_a_secret(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = command(folder, "evolve", f"model.name={SECRETS['HF_TOKEN']}", f"hydra.run.dir={folder}", plant=plant)
    process.join(60)
    assert process.exitcode == 2
    assert SECRETS["HF_TOKEN"] not in said(folder)
