"""A model that brings code of its own is refused, and its code is not run."""

import json
from pathlib import Path

import pytest

from fitness.errors import ModelError
from fitness.model import ModelConfig, load_base_model
from tests.fitness.models import save_tiny

CODE = "from pathlib import Path\nPath({note!r}).write_text('ran')\nclass Config: ...\nclass Model: ...\n"


@pytest.mark.fault("a model whose folder holds code to be run", "it is refused by name, and its code is not run")
@pytest.mark.parametrize("kind", ["own", "llama"])
def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path, kind: str) -> None:
    folder, note = save_tiny(tmp_path / "model", "llama"), tmp_path / "note"
    (folder / "code.py").write_text(CODE.format(note=str(note)))
    told = json.loads((folder / "config.json").read_text())
    told["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    told["model_type"] = kind
    (folder / "config.json").write_text(json.dumps(told))
    if kind == "own":
        with pytest.raises(ModelError, match=r"model\.name: expected a causal LM"):
            load_base_model(ModelConfig(name=str(folder)))
    else:  # the library's own code fits, and is what is used
        assert type(load_base_model(ModelConfig(name=str(folder))).network).__module__.startswith("transformers.")
    assert not note.exists()
