"""Adapters, checkpoints and tables from anywhere: read as they are, or refused in a sentence that names the file."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from evo.adapters import KeptAdapters
from evo.algorithms.base import AlgorithmState
from evo.budget import Pace
from evo.checkpoint import Checkpoint, Checkpoints
from finetune.policies import Cost
from fitness.adapter import load_adapter, save_adapter
from fitness.engines.base import Usage
from fitness.errors import AdapterError
from fitness.telemetry import read_table, table_path
from tests.evo import fake_run
from tests.evo.samples import genome
from tests.fuzz.cases import fuzzed, patient, works_or_says_why

pytestmark = patient

ADAPTER = genome(0).adapter


def altered(data: st.DataObject, original: bytes) -> bytes:
    """Draw a file that was cut, overwritten or filled in somewhere."""
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.sampled_from([start, start + 1, start + 8, len(original)]))
    return original[:start] + data.draw(st.binary(max_size=16)) + original[end:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one good file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    save_adapter(ADAPTER, folder / "adapter", "base")
    one = genome(0)
    checkpoint = Checkpoint(
        generation=3, name="run", identity="x", row_chunk=None, algorithm=AlgorithmState({"next_id": 4}, (one,)),
        founders=(one,), usage=Usage(), training=Cost(), wall_seconds=1.0, pace=Pace(),
    )  # fmt: skip
    Checkpoints(folder / "run", KeptAdapters(folder / "run", "base"), "").write(checkpoint)
    fake_run.write_run(folder / "fake")
    return folder


def copy_of(whole: Path, folder: Path, name: str, data: st.DataObject) -> Path:
    """Copy a folder, with one of its files altered."""
    shutil.copytree(whole / name, folder / name)
    files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files), label="file")
    path.write_bytes(altered(data, path.read_bytes()))
    return folder / name


@fuzzed
@given(data=st.data())
def test_an_adapter_that_was_altered(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = copy_of(whole, tmp_path_factory.mktemp("copy"), "adapter", data)
    with works_or_says_why(str(folder)):
        assert load_adapter(folder).is_finite()


SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=3)
NAMES = st.one_of(
    st.sampled_from(
        [
            "x.lora_A.weight",
            "x.lora_B.weight",
            "base_model.model.x.lora_A.weight",
            "base_model.model.x.lora_B.weight",
            "base_model.model.../../etc/passwd.lora_A.weight",
            "base_model.model.../../etc/passwd.lora_B.weight",
            "base_model.model.\x00.lora_A.weight",
        ]
    ),
    st.text(max_size=20),
)
DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.float64])


@fuzzed
@given(
    names=st.lists(NAMES, max_size=4, unique=True),
    shapes=st.lists(SHAPES, min_size=4, max_size=4),
    dtype=DTYPES,
    fields=st.fixed_dictionaries(
        {
            "r": st.one_of(st.integers(), st.text(max_size=3), st.floats()),
            "lora_alpha": st.one_of(st.floats(), st.integers(), st.none()),
        }
    ),
)
def test_an_adapter_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    shapes: list[list[int]],
    dtype: torch.dtype,
    fields: dict[str, object],
) -> None:
    folder = tmp_path_factory.mktemp("adapter")
    tensors = {name: torch.ones(shape, dtype=dtype) for name, shape in zip(names, shapes, strict=False)}
    (folder / "adapter_model.safetensors").write_bytes(save(tensors))
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    with works_or_says_why(str(folder)):
        load_adapter(folder)


@pytest.mark.parametrize("length", [0, 2, 2**20, 2**40, 2**63, 2**64 - 1])
def test_a_giant_header_is_refused_before_it_is_read(tmp_path: Path, length: int) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    (tmp_path / "adapter_config.json").write_text('{"r": 1, "lora_alpha": 1}')
    with pytest.raises(AdapterError, match="expected"):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "{}",
        "null",
        "\x00",
        '{"r": 1e999, "lora_alpha": 1}',
        '{"r": 0, "lora_alpha": 1}',
        '{"r": 2, "lora_alpha": 1e999}',
    ],
)
def test_a_config_that_is_none_is_refused(whole: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(whole / "adapter", tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError, match="expected"):
        load_adapter(tmp_path / "adapter")


@fuzzed
@given(data=st.data())
def test_a_checkpoint_that_was_altered(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = copy_of(whole, tmp_path_factory.mktemp("copy"), "run", data)
    with works_or_says_why(str(folder)):
        found = Checkpoints(folder, KeptAdapters(folder, "base"), "").last()
        assert found is not None
        assert found.generation == 3
        assert found.founders[0].adapter.digest() == ADAPTER.digest()


@fuzzed
@given(data=st.data())
def test_a_table_that_was_altered(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("copy")
    name = data.draw(st.sampled_from(["generations", "genomes"]))
    original = table_path(whole / "fake", name).read_bytes()
    table_path(folder, name).write_bytes(altered(data, original))
    with works_or_says_why(str(folder)):
        read_table(folder, name).validate(full=True)
