"""Checkpoints: what is damaged gives way to the one before, and is written anew; other settings are refused."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evo.adapters import KeptAdapters
from evo.algorithms.base import AlgorithmState
from evo.budget import Pace
from evo.checkpoint import Checkpoint, Checkpoints
from evo.genome import Genome
from finetune.moments import Moments, pack
from finetune.policies import Cost
from fitness.adapter import load_adapter
from fitness.engines.base import Usage
from fitness.errors import OutputError
from tests.evo.samples import genome, random_adapter

FOUNDER, *YOUNG = (genome(i, adapter=random_adapter(i)) for i in range(3))


class Life:
    """A run of which only adapters and checkpoints are there; every process that works on it has its own."""

    def __init__(self, folder: Path, settings: str = "abc") -> None:
        self.adapters = KeptAdapters(folder, "base")
        self.checkpoints = Checkpoints(folder, self.adapters, settings)

    def live(self, over: int, survivors: list[Genome], waiting: list[Genome]) -> None:
        for one in survivors:
            self.adapters.keep(one.adapter)
        state = AlgorithmState({}, (*survivors, *waiting))
        self.checkpoints.write(
            Checkpoint(
                generation=over,
                name="run",
                identity="x",
                row_chunk=None,
                algorithm=state,
                founders=(FOUNDER,),
                usage=Usage(),
                training=Cost(),
                wall_seconds=1.0,
                pace=Pace(),
            )
        )

    def begin(self) -> None:
        self.live(1, [FOUNDER], [])

    def end(self) -> None:
        self.live(2, [FOUNDER, *YOUNG], [genome(9, adapter=random_adapter(9))])


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def alter(adapter: Path) -> None:
    data = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    data[-5] ^= 1
    (adapter / "adapter_model.safetensors").write_bytes(data)


def cut(adapter: Path) -> None:
    data = (adapter / "adapter_model.safetensors").read_bytes()
    (adapter / "adapter_model.safetensors").write_bytes(data[: len(data) // 2])


def empty(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_bytes(b"")


@pytest.mark.parametrize("damage", [alter, cut, empty])
def test_damaged_adapters_are_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    first = Life(tmp_path)
    first.begin()
    first.end()
    whole = content(tmp_path)
    places = [first.adapters.path(one.adapter.digest()) for one in YOUNG]
    for place in places:
        damage(place)
    second = Life(tmp_path)
    since = second.checkpoints.last()
    assert since is not None
    assert since.generation == 1
    assert not any(place.exists() for place in places)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert all(str(place) in told[0] and str(place) in told[1] for place in places)
    second.end()
    assert content(tmp_path) == whole
    for one in YOUNG:
        assert load_adapter(first.adapters.path(one.adapter.digest())).digest() == one.adapter.digest()


def test_what_an_earlier_process_left_of_a_generation_that_is_lived_again_is_not_relied_on(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.begin()
    first.end()
    whole = content(tmp_path)
    first.adapters.keep(random_adapter(9))  # as the next generation would, before it was killed
    (tmp_path / "checkpoints/generation=000002/checkpoint.json").write_text("{}")
    for one in YOUNG:
        alter(first.adapters.path(one.adapter.digest()))
    second = Life(tmp_path)
    since = second.checkpoints.last()
    assert since is not None
    assert since.generation == 1
    second.end()
    second.adapters.forget(second.checkpoints.needed() - {random_adapter(9).digest()})
    assert content(tmp_path) == whole


def test_where_nothing_is_whole_nothing_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Life(tmp_path)
    first.begin()
    first.end()
    place = first.adapters.path(FOUNDER.adapter.digest())
    cut(place)
    before = content(tmp_path)
    with pytest.raises(OutputError, match="expected a whole checkpoint, got adapters that are missing or") as raised:
        Life(tmp_path).checkpoints.last()
    assert len(str(raised.value).splitlines()) == 2
    assert str(place) in str(raised.value)
    assert content(tmp_path) == before
    assert not caplog.records


def test_a_damaged_copy_costs_nothing_while_another_is_whole(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.end()
    (own,) = (tmp_path / "checkpoints").glob("*/adapters/*")
    first.adapters.keep(random_adapter(9))
    alter(own)
    since = Life(tmp_path).checkpoints.last()
    assert since is not None
    assert since.generation == 2
    assert since.algorithm.genomes[-1].adapter.digest() == own.name
    assert not own.exists()


def test_what_optimisers_remember_comes_back_or_the_checkpoint_is_damaged(tmp_path: Path) -> None:
    life, moments = Life(tmp_path), {1: Moments(first=random_adapter(5), second=random_adapter(6), steps=3.0)}
    life.begin()
    since = life.checkpoints.last()
    assert since is not None
    assert not since.moments
    life.checkpoints.write(replace(since, generation=2, moments=moments))
    back = Life(tmp_path).checkpoints.last()
    assert back is not None
    assert pack(back.moments) == pack(moments)
    (file,) = tmp_path.glob("checkpoints/*/moments.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    before = Life(tmp_path).checkpoints.last()
    assert before is not None
    assert before.generation == 1


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Life(tmp_path).begin()
    with pytest.raises(OutputError, match=r"config\.yaml: expected the settings that the run began with, got others: "):
        Life(tmp_path, settings="abd").checkpoints.last()
