"""The command line, as a person meets it: help at once, and one sentence for every mistake."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evo.cli import COMMANDS, main
from evo.config import PARTS
from evo.stopping import StoppedError

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "wandb",
    "pyarrow",
    "matplotlib",
    "hydra",
    "omegaconf",
    "numpy",
    "deap",
    "rich",
)


def forager(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder of its own and return what it printed."""
    command = [sys.executable, "-m", "evo.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["evolve", "--help"], ["--version"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from evo.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "LOADED []"


def test_reading_a_configuration_loads_no_model(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from evo.cli import main\n"
        "assert main(['config', 'experiment=tiny', 'seed=5']) == 0\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'vllm', 'wandb') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
    assert "seed: 5" in answer.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    answer = forager("--help", folder=tmp_path)
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in ("evolve", "config", "report", "pretrain"))


MISTAKES = [
    (["evlove"], ["command", "evolve", "'evlove'", "did you mean 'evolve'"]),
    (["evolve", "--no-such-flag"], ["arguments", "--no-such-flag"]),
    (["--verison"], ["arguments", "'--verison'", "did you mean '--version'"]),
    (["evolve", "hydra.run.dir="], ["hydra.run.dir", "expected a path", "given hydra.run.dir="]),
    (["evolve", "hydra.run.dir=null"], ["hydra.run.dir", "expected a path", "given hydra.run.dir=null"]),
    (["report"], ["arguments", "run"]),
    (["evolve", "enviroment=forage"], ["enviroment", "expected", "did you mean 'environment'"]),
    (["evolve", "environment=forag"], ["environment", "forage", "given forag", "did you mean 'forage'"]),
    (["evolve", "populaton=8"], ["populaton", "given populaton=8", "did you mean 'population'"]),
    (["evolve", "environment.sise=8"], ["environment.sise", "given sise=8", "did you mean 'size'"]),
    (["evolve", "population=0"], ["population", "at least", "0"]),
    (["evolve", "generations=many"], ["generations", "expected a whole number", "'many'"]),
    (["evolve", "generations=0"], ["generations", "expected at least 1", "0"]),
    (["evolve", "finals=0"], ["finals", "expected at least 1", "0"]),
    (["evolve", "temperature=0"], ["temperature", "expected a number above 0", "0"]),
    (["evolve", "environment.size=tiny"], ["environment.size", "expected a whole number", "'tiny'"]),
    (["evolve", "population=6", "elites=7"], ["elites", "at most", "population", "7"]),
    (["evolve", "adapter.rank=0"], ["adapter.rank", "expected at least 1", "0"]),
    (["evolve", "tracking.wandb.mode=ofline"], ["tracking.wandb.mode", "expected", "'offline'"]),
    (["evolve", "tracking.wandv=1"], ["tracking.wandv", "expected a component", "1"]),
    (["evolve", "seed=4294967296"], ["seed", "expected at most 4294967295", "4294967296"]),
    (["evolve", "temperature=1e6"], ["temperature", "at most 100", "1000000.0"]),
    (["evolve", "algorithm.population=30"], ["algorithm.population", "expected 24", "set that one", "given 30"]),
    (["evolve", "algorithm.elites=1"], ["algorithm.elites", "expected 3", "set that one", "given 1"]),
    (["evolve", "objective._target_=evo.config.AdapterConfig"], ["objective", "`by_agent`", "given AdapterConfig"]),
    (["evolve", "population=~8"], ["population", "expected a whole number", "'~8'"]),
    (["evolve", "experiment=tiny", "model.device=foo"], ["model.device", "such as cpu or cuda", "'foo'"]),
    (["evolve", "experiment=tiny", "model.device=meta"], ["model.device", "such as cpu or cuda", "'meta'"]),
    (["pretrain", __file__], ["folder", "expected a folder", "which is a file"]),
    (["pretrain", str(Path(__file__).parent)], ["folder", "expected a new or empty folder"]),
    (["pretrain", "new", "--seed", "-1"], ["pretrain.seed", "at least 0", "-1"]),
    (["pretrain", "new", "--seed", "99999999999999999999"], ["pretrain.seed", "at most 4294967295"]),
    (["pretrain", "new", "--steps", "0"], ["pretrain.steps", "at least 1", "0"]),
    (["evolve", "experiment=tiny", "hydra.run.dir=/proc/self/x"], ["hydra.run.dir", "expected", "/proc/self/x"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("forager: ")
    assert len(told.splitlines()) == 1
    assert all(word in told for word in words), told
    assert not list(tmp_path.glob("*/*"))


def test_the_process_ends_with_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    answer = forager("evolve", "populaton=8", folder=tmp_path)
    assert answer.returncode == 2
    assert "did you mean 'population'" in answer.stderr
    assert "Traceback" not in answer.stderr + answer.stdout


def test_a_part_that_would_end_the_process_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(_: object) -> None:
        raise SystemExit("\x1b[2Jgone")

    monkeypatch.setitem(COMMANDS, "report", replace(COMMANDS["report"], run=leave))
    assert main(["report", "run"]) == 2
    assert capsys.readouterr().err == (
        "forager: report: expected parts that let it end by itself, got SystemExit: \\x1b[2Jgone\n"
    )


def test_a_note_on_an_error_comes_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: object) -> None:
        error = StoppedError(signal.SIGTERM)
        error.add_note("go on with: forager resume run")
        raise error

    monkeypatch.setitem(COMMANDS, "report", replace(COMMANDS["report"], run=stop))
    assert main(["report", "run"]) == 143
    assert capsys.readouterr().err == "forager: go on with: forager resume run\nforager: stopped by SIGTERM\n"


def test_a_file_that_is_no_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf/selection").mkdir(parents=True)
    path = tmp_path / "conf/selection/mine.yaml"
    path.write_bytes(b"_target_: caf\xe9\n")
    monkeypatch.chdir(tmp_path)
    assert main(["evolve", f"hydra.searchpath=[file://{tmp_path}/conf]", "selection=mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"forager: {path}: expected a file in UTF-8, got one that is not")


@pytest.mark.parametrize("text", ["", "seed: 0\n", "population: 3\nseed: 1\n"])
def test_a_config_that_was_emptied_or_cut_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert main(["resume", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"forager: {tmp_path}/config.yaml: expected the settings of a run, got a file without ")


def test_a_folder_that_holds_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert main(["evolve", "experiment=tiny", "hydra.run.dir=."]) == 2
    assert "hydra.run.dir: expected a new or empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_file_without_a_target_is_one_sentence(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / part).mkdir(parents=True)
    (tmp_path / "conf" / part / "mine.yaml").write_text("pressure: 2.0\n")
    monkeypatch.chdir(tmp_path)
    assert main(["evolve", f"hydra.searchpath=[file://{tmp_path}/conf]", f"{part}=mine"]) == 2
    told = capsys.readouterr().err
    assert f"forager: {part}: expected a component of the family conf/{part}/" in told
    assert "given no _target_" in told
    assert not (tmp_path / "outputs").exists()
