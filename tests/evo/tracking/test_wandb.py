"""An offline W&B run is made and read back; looking for the network is quick and never fatal in auto."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from evo.records import RunFinished
from evo.tracking import connection
from evo.tracking.fanout import Trackers
from evo.tracking.wandb import WandbConfig
from fitness.errors import ConfigError
from fitness.telemetry import write_episodes
from tests.evo import fake_run
from tests.evo.tracking.offline import (
    closed_port,
    exit_codes,
    history,
    items,
    read,
    read_now,
    run_of,
    summary_of,
    table,
)


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
    config = WandbConfig(mode="offline", project="p", group="g", job_type="arm", tags=("a", "b"))
    assert _play(config, tmp_path).failures == ()
    records = read(tmp_path)
    run = run_of(records)
    assert (run.project, run.run_group, run.job_type, run.display_name) == ("p", "g", "arm", "fake")
    assert list(run.tags)[:3] == ["a", "b", "no fine-tuning"]  # the user's own, and what holds for the run
    settings = items(run.config.update)
    assert settings["environment"] == {"id": "forage"}
    assert settings["forager"]["seed"] == 0
    curves = [row for row in history(records) if "population/best" in row]
    assert [row["generation"] for row in curves] == [0, 1, 2]
    for row in curves:
        told = fake_run.record(row["generation"])
        assert row["population/best"] == told.best
        assert row["population/adapter_diversity"] == told.adapter_diversity
        assert row["finetune/ess"] == told.ess
        assert row["seconds/generation"] == told.seconds
        assert {cause: row[f"deaths/{cause}"] for cause, _ in told.deaths} == dict(told.deaths)
    summary = summary_of(records)
    assert summary["heldout/evolved/score"] == 0.684
    assert summary["heldout/frozen/ci_high"] == 0.243
    assert summary["budget/decisions"] == 1_200_000
    assert summary["best/strategy"] == max(fake_run.genomes(0), key=lambda row: row.fitness).strategy
    assert exit_codes(records) == [0]


def test_curves_are_drawn_over_the_generation(tmp_path: Path) -> None:
    _play(WandbConfig(mode="offline"), tmp_path)
    metrics = [record.metric for record in read(tmp_path) if record.WhichOneof("record_type") == "metric"]
    assert {(metric.glob_name or metric.name, metric.step_metric) for metric in metrics} >= {("*", "generation")}


def test_the_table_of_genomes_lies_in_the_run(tmp_path: Path) -> None:
    _play(WandbConfig(mode="offline"), tmp_path)
    (row,) = (row for row in history(read(tmp_path)) if any(key.startswith("genomes") for key in row))
    assert row["generation"] == 0
    assert [line["strategy"] for line in table(tmp_path, "genomes")] == [row.strategy for row in fake_run.genomes(0)]


def test_an_interrupted_run_is_marked_as_failed(tmp_path: Path) -> None:
    _play(WandbConfig(mode="offline"), tmp_path, end=False)
    records = read(tmp_path)
    assert exit_codes(records) == [1]
    assert len([row for row in history(records) if "population/best" in row]) == 3


def test_auto_without_a_key_is_offline_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert _play(WandbConfig(), tmp_path).failures == ()
    assert time.monotonic() - begin < 10
    assert len(history(read(tmp_path))) == 4


def test_auto_with_a_key_and_no_network_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert _play(WandbConfig(), tmp_path).failures == ()
    assert len(history(read(tmp_path))) == 4


def test_auto_does_what_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert _play(WandbConfig(), tmp_path).failures == ()
    assert not (tmp_path / "wandb").exists()


def test_online_without_a_key_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.wandb\.mode: expected an API key for online .*, got none"):
        _play(WandbConfig(mode="online"), tmp_path)


def test_a_key_in_netrc_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    machine = urlsplit(connection.base_url(wandb)).netloc
    file = tmp_path / "netrc"
    file.write_text(f"machine {machine} login user password {'0' * 40}", encoding="utf-8")
    assert not connection.has_key(wandb)
    monkeypatch.setenv("NETRC", str(file))
    assert connection.has_key(wandb)
    file.write_text(f"machine other.example login user password {'0' * 40}", encoding="utf-8")
    assert not connection.has_key(wandb)


def test_a_server_that_answers_is_seen_and_one_that_does_not_costs_no_more_than_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert connection.answers(server.getsockname())
    begin = time.monotonic()
    assert not connection.answers(("127.0.0.1", closed_port()))
    assert not connection.answers(("192.0.2.1", 443), seconds=0.5)  # an address that is kept for documents
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
        "time.sleep(1.2); print('ready', flush=True); time.sleep(60)\n"
    )
    # Without the variable by which W&B would share the helper process of this one, for which the run would never end.
    others = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=others)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [row["generation"] for row in history(read_now(tmp_path))] == [0, 1, 2, 3, 4]


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


def test_charts_of_all_generations_are_logged_ever_more_rarely(tmp_path: Path) -> None:
    with Trackers([WandbConfig(mode="offline").build()]) as trackers:
        trackers.on_start(fake_run.started(tmp_path))
        for generation in range(10):
            trackers.on_generation(fake_run.record(generation, 10), fake_run.genomes(0))
    charts = [row["generation"] for row in history(read(tmp_path)) if "charts/score_bands/path" in row]
    assert charts == [0, 1, 3, 7, 0]  # the last at the end, with the generation of its rows


def test_a_generation_without_episodes_on_disk_has_no_histogram_and_costs_nothing(tmp_path: Path) -> None:
    write_episodes(tmp_path, fake_run.source(1), fake_run.episodes(fake_run.genomes(0)))
    assert _play(WandbConfig(mode="offline"), tmp_path).failures == ()
    found = {row["generation"]: row for row in history(read(tmp_path)) if "population/best" in row}
    assert [number for number, row in found.items() if "population/lifespans/values" in row] == [1]
    assert found[1]["population/lifespans/values"][-1] == len(fake_run.genomes(0))  # all lived 20 decisions, the most


def test_a_tag_that_wandb_would_refuse_is_refused_before_the_run() -> None:
    for tag in ("", "x" * 65):
        with pytest.raises(ConfigError, match=r"tracking\.wandb\.tags: expected texts of 1 to 64 characters, got"):
            WandbConfig(tags=("fine", tag))
