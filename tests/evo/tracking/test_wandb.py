"""An offline W&B run is made and read back; looking for the network is quick and never fatal in auto."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evo.records import RunFinished
from evo.tracking import wandb as tracking
from evo.tracking.fanout import Trackers
from evo.tracking.wandb import WandbConfig
from fitness.errors import ConfigError
from tests.evo import fake_run

BLOCK, HEADER = 32_768, 7


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no settings and no server of whoever runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{_closed_port()}")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _frames(content: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file (LevelDB log format), up to a torn tail."""
    place, parts = 7, b""
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        checksum, size, kind = struct.unpack_from("<IHB", content, place)
        if left < HEADER or (kind == 0 and size == 0):
            place += left
            continue
        part = content[place + HEADER : place + HEADER + size]
        if len(part) < size:
            return
        assert zlib.crc32(part, zlib.crc32(bytes([kind]))) == checksum
        place += HEADER + size
        parts = part if kind in (1, 2) else parts + part
        if kind in (1, 4):
            yield parts


def _read(folder: Path) -> list[Any]:
    """Return the records of a run that has ended; W&B's helper process may write the last ones a moment later."""
    deadline = time.monotonic() + 20
    while not (records := _read_now(folder)) or not _exit_codes(records):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return records


def _read_now(folder: Path) -> list[Any]:
    from wandb.proto import wandb_internal_pb2 as pb

    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    return [pb.Record.FromString(frame) for frame in _frames(path.read_bytes())]


def _exit_codes(records: list[Any]) -> list[int]:
    return [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"]


def _items(items: Any) -> dict[str, Any]:
    return {("/".join(item.nested_key) or item.key): json.loads(item.value_json) for item in items}


def _history(records: list[Any]) -> list[dict[str, Any]]:
    return [_items(record.history.item) for record in records if record.WhichOneof("record_type") == "history"]


def _summary(records: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in records:
        merged |= _items(record.summary.update)
    return merged


def _play(config: WandbConfig, folder: Path, *, end: bool = True) -> Trackers:
    trackers = Trackers([config.build()])
    with trackers:
        trackers.on_start(fake_run.started(folder))
        for generation in range(3):
            trackers.on_generation(fake_run.record(generation), fake_run.genomes(0))
        if end:
            trackers.on_finish(RunFinished(summary=fake_run.summary(), seconds=fake_run.SECONDS))
    return trackers


def test_an_offline_run_holds_what_was_logged(tmp_path: Path) -> None:
    config = WandbConfig(mode="offline", project="p", group="g", tags=("a", "b"))
    assert _play(config, tmp_path).failures == ()
    records = _read(tmp_path)
    (run,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.project, run.run_group, list(run.tags), run.display_name) == ("p", "g", ["a", "b"], "fake")
    settings = _items(run.config.update)
    assert settings["environment"] == {"id": "forage"}
    assert settings["forager"]["seed"] == 0
    curves = [row for row in _history(records) if "population/best" in row]
    assert [row["generation"] for row in curves] == [0, 1, 2]
    for row in curves:
        told = fake_run.record(row["generation"])
        assert row["population/best"] == told.best
        assert row["population/adapter_diversity"] == told.adapter_diversity
        assert row["finetune/ess"] == told.ess
        assert row["seconds/generation"] == told.seconds
        assert {cause: row[f"deaths/{cause}"] for cause, _ in told.deaths} == dict(told.deaths)
    summary = _summary(records)
    assert summary["heldout/evolved/score"] == 0.684
    assert summary["heldout/frozen/ci_high"] == 0.243
    assert summary["budget/decisions"] == 1_200_000
    assert summary["best/strategy"] == max(fake_run.genomes(0), key=lambda row: row.fitness).strategy
    assert _exit_codes(records) == [0]


def test_curves_are_drawn_over_the_generation(tmp_path: Path) -> None:
    _play(WandbConfig(mode="offline"), tmp_path)
    metrics = [record.metric for record in _read(tmp_path) if record.WhichOneof("record_type") == "metric"]
    assert {(metric.glob_name or metric.name, metric.step_metric) for metric in metrics} >= {("*", "generation")}


def test_the_table_of_genomes_lies_in_the_run(tmp_path: Path) -> None:
    _play(WandbConfig(mode="offline"), tmp_path)
    (row,) = (row for row in _history(_read(tmp_path)) if any(key.startswith("genomes") for key in row))
    assert row["generation"] == 0
    (path,) = (tmp_path / "wandb").glob("offline-run-*/files/media/table/*.table.json")
    table = json.loads(path.read_text(encoding="utf-8"))
    strategies = [dict(zip(table["columns"], line, strict=True))["strategy"] for line in table["data"]]
    assert strategies == [genome.strategy for genome in fake_run.genomes(0)]


def test_an_interrupted_run_is_marked_as_failed(tmp_path: Path) -> None:
    _play(WandbConfig(mode="offline"), tmp_path, end=False)
    records = _read(tmp_path)
    assert _exit_codes(records) == [1]
    assert len([row for row in _history(records) if "population/best" in row]) == 3


def test_auto_without_a_key_is_offline_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert _play(WandbConfig(), tmp_path).failures == ()
    assert time.monotonic() - begin < 10
    assert len(_history(_read(tmp_path))) == 4


def test_auto_with_a_key_and_no_network_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert _play(WandbConfig(), tmp_path).failures == ()
    assert len(_history(_read(tmp_path))) == 4


def test_auto_does_what_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert _play(WandbConfig(), tmp_path).failures == ()
    assert not (tmp_path / "wandb").exists()


def test_online_without_a_key_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.wandb\.mode: expected an API key for online .*, got none"):
        _play(WandbConfig(mode="online"), tmp_path)


def test_a_key_in_netrc_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    machine = urlsplit(tracking._base_url(wandb)).netloc
    file = tmp_path / "netrc"
    file.write_text(f"machine {machine} login user password {'0' * 40}", encoding="utf-8")
    assert not tracking._has_key(wandb)
    monkeypatch.setenv("NETRC", str(file))
    assert tracking._has_key(wandb)
    file.write_text(f"machine other.example login user password {'0' * 40}", encoding="utf-8")
    assert not tracking._has_key(wandb)


def test_a_server_that_answers_is_seen_and_one_that_does_not_costs_no_more_than_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert tracking._answers(server.getsockname())
    begin = time.monotonic()
    assert not tracking._answers(("127.0.0.1", _closed_port()))
    assert not tracking._answers(("192.0.2.1", 443), seconds=0.5)  # an address that is kept for documents
    assert time.monotonic() - begin < 2


def test_disabled_touches_nothing(tmp_path: Path) -> None:
    assert _play(WandbConfig(mode="disabled"), tmp_path).failures == ()
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_checked_without_wandb() -> None:
    with pytest.raises(ConfigError, match=r"mode: expected one of auto, .*, got 'offlin' \(did you mean 'offline'\?\)"):
        WandbConfig(mode="offlin")
    with pytest.raises(ConfigError, match="project: expected a name"):
        WandbConfig(project="")
    code = "import sys, evo.tracking.wandb, evo.tracking.console; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.fault("`kill -9` while W&B is offline", "all that is older than a second is in its file")
@pytest.mark.slow
def test_a_killed_run_keeps_what_is_older_than_the_flush(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.evo import fake_run\n"
        "from evo.tracking.wandb import WandbConfig\n"
        "tracker = WandbConfig(mode='offline').build(); tracker.on_start(fake_run.started(Path(sys.argv[1])))\n"
        "for generation in range(5): tracker.on_generation(fake_run.record(generation), ())\n"
        "time.sleep(3); print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [row["generation"] for row in _history(_read_now(tmp_path))] == [0, 1, 2, 3, 4]


@pytest.mark.fault("W&B's helper process hangs", "it is ended; the run ends in time")
@pytest.mark.slow
def test_a_helper_process_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.evo import fake_run\n"
        "from evo.tracking.fanout import Trackers; from evo.tracking.wandb import WandbConfig\n"
        "tracker = WandbConfig(mode='offline').build(); trackers = Trackers([tracker], close_seconds=2)\n"
        "trackers.on_start(fake_run.started(Path(sys.argv[1])))\n"
        "os.kill(tracker._service.process.pid, signal.SIGSTOP)\n"
        "for generation in range(5): trackers.on_generation(fake_run.record(generation), ())\n"
        "trackers.close(); print(trackers.failures[0])\n"
    )
    # Without the variable by which W&B would share the helper process of this one.
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "tracking.wandb: it did not end in time and was left behind\n"
    assert "Traceback" not in done.stderr
