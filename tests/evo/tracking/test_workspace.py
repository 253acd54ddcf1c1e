"""The dashboard is written without a network, is the same each time, and says why it is not online."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evo.cli import main
from evo.tracking.workspace import Wanted, build_workspace, specification
from fitness.errors import ConfigError, OutputError
from tests.evo import fake_run


@pytest.fixture
def refusing() -> Iterator[str]:
    """Return the address of a server that lets nobody in."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_error(401)

        do_GET = do_POST  # noqa: N815  # the name that is called

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_runs_are_grouped_by_group_and_arm_and_those_of_the_group_are_shown() -> None:
    wanted = Wanted(project="p", entity="e", group="ablation-main", causes=("wolf",))
    view = json.loads(specification(build_workspace(wanted)))
    assert (view["entity"], view["project"], view["displayName"]) == ("e", "p", "Forager: ablation-main")
    (runs,) = view["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["group", "jobType"]
    assert [(one["key"]["name"], one["value"]) for one in runs["filters"]["filters"]] == [("group", "ablation-main")]
    lines = [
        panel["config"]
        for section in view["spec"]["section"]["panelBankConfig"]["sections"]
        for panel in section["panels"]
        if panel["viewType"] == "Run History Line Plot"
    ]
    for config in lines:
        spent = all(name.startswith("by_decisions/") for name in config["metrics"])
        assert config["xAxis"] == ("decisions" if spent else "generation"), config
    compared = {(config["xAxis"], config["groupBy"]) for config in lines if "groupBy" in config}
    assert compared == {("generation", "jobType"), ("decisions", "jobType")}


def test_the_same_command_writes_the_same_bytes() -> None:
    first, second = (specification(build_workspace(Wanted(project="p"))) for _ in range(2))
    assert first == second


def test_a_run_says_its_project_group_and_causes(tmp_path: Path) -> None:
    folder = fake_run.write_run(tmp_path / "ablation-x" / "joint-0")
    assert Wanted.of(folder, project=None, entity=None) == Wanted(
        project="forager", group="ablation-x", causes=(*fake_run.CAUSES, "outlived", "failed")
    )
    own = "seed: 0\ntracking:\n  wandb:\n    project: mine\n    group: ours\n    experiment: tiny\n"
    (folder / "config.yaml").write_text(own)
    found = Wanted.of(folder, project=None, entity="team")
    assert (found.project, found.group, found.entity) == ("mine", "ours", "team")
    with pytest.raises(OutputError, match=r"run: expected the folder of a run .*, given .*nowhere"):
        Wanted.of(tmp_path / "nowhere", project=None, entity=None)
    with pytest.raises(ConfigError, match="expected a run's folder or --project NAME, given neither"):
        Wanted.of(None, project=None, entity=None)


def test_without_a_key_or_a_network_the_file_is_written_and_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "board.json"
    asked = ["workspace", "--project", "p", "--to", str(file)]
    reasons = []
    for settings in ({}, {"WANDB_API_KEY": "0" * 40}, {"WANDB_MODE": "offline"}):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        file.unlink(missing_ok=True)
        assert main(asked) == 0
        assert json.loads(file.read_text())["project"] == "p"
        answer = capsys.readouterr().out
        assert answer.startswith(f"{file} is written; it is not saved online, because ")
        assert answer.count("\n") == 1
        reasons.append(answer)
    told = ("there is no API key", "127.0.0.1 does not answer", "says offline")
    assert [words in reason for words, reason in zip(told, reasons, strict=True)] == [True] * 3


@pytest.mark.slow
def test_a_server_that_refuses_is_told_of_and_the_file_is_there(tmp_path: Path, refusing: str) -> None:
    file = tmp_path / "board.json"
    # In a process of its own, since W&B reads its settings once.
    others = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    done = subprocess.run(
        [sys.executable, "-m", "evo.cli", "workspace", "--project", "p", "--entity", "e", "--to", str(file)],
        env={**others, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": refusing},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "forager: workspace: expected W&B to take it, got AuthenticationError" in done.stderr
    assert f"{file} is written\n" in done.stderr
    assert json.loads(file.read_text())["entity"] == "e"
