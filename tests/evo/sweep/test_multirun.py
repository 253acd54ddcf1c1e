"""Every combination is run once, checked before, in a folder that says what it is; whatever fails or stops it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from evo import processes
from evo.build import build_run
from evo.cli import main
from evo.sweep.multirun import claim, multirun
from fitness.errors import ConfigError, ForagerError, OutputError
from tests.evo import fake_run
from tests.integration.runs import OVERRIDES, wait_for

ROOT = Path(__file__).parents[3]
WORDS = ("experiment=tiny", "tracking=none", "seed=0,1", "variation/adapter_crossover=slerp,exact")
NAMES = [
    f"{number}-seed={seed},variation.adapter_crossover={name}"
    for number, (seed, name) in enumerate([(0, "slerp"), (0, "exact"), (1, "slerp"), (1, "exact")])
]


class Runs:
    """Stands for the processes of runs: writes what a run leaves, at once, or fails."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, ...]] = []
        self.failing: tuple[str, ...] = ()
        self.settings: dict[str, str] = {}
        """What runs leave as config.yaml, by their folder's name."""

    def begin(self, words: Sequence[str], log: Path, share: int | None) -> "subprocess.Popen[bytes]":
        self.begun.append(tuple(words[3:]))
        folder = log.with_suffix("")
        if folder.name not in self.failing:
            fake_run.write_run(folder, 1)
            (folder / "report.html").write_text("")
            if text := self.settings.get(folder.name):
                (folder / "config.yaml").write_text(text)
        return subprocess.Popen(["true"])


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    found = Runs()
    monkeypatch.setattr(processes, "begin", found.begin)
    monkeypatch.setattr(processes, "log_of", lambda folder: folder.with_name(f"{folder.name}.log"))
    return found


def test_all_combinations_are_run_each_in_a_folder_of_its_own(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evolve", *WORDS, "--multirun"]) == 0
    (place,) = Path("outputs").iterdir()
    assert place.name.startswith("sweep-tiny-")
    assert sorted(path.name for path in place.iterdir() if path.is_dir()) == NAMES
    assert runs.begun[1] == (
        "evolve", "experiment=tiny", "tracking=none", "seed=0", "variation/adapter_crossover=exact",
        f"hydra.run.dir='outputs/{place.name}/{NAMES[1]}'",
    )  # fmt: skip
    assert f"forager compare {place}/*/" in capsys.readouterr().out


def test_two_sweeps_of_one_second_do_not_meet(tmp_path: Path) -> None:
    names = [claim(tmp_path / "outputs" / "sweep-tiny").name for _ in range(3)]
    assert names == ["sweep-tiny", "sweep-tiny-2", "sweep-tiny-3"]


def test_one_that_fails_leaves_the_others_and_the_same_folder_goes_on(runs: Runs) -> None:
    words = ("experiment=tiny", "tracking=none", "seed=0,1", "hydra.sweep.dir=outputs/mine")
    runs.failing = ("1-seed=1",)
    runs.settings = {f"{seed}-seed={seed}": build_run((*words[:2], f"seed={seed}")).yaml for seed in range(2)}
    with pytest.raises(ForagerError, match=r"expected all runs to finish, 1 of 2 did not: see .*1-seed=1\.log"):
        multirun(words)
    assert len(runs.begun) == 2
    runs.failing = ()
    multirun(words)
    assert [one[3] for one in runs.begun[2:]] == ["seed=1"]


def test_a_folder_with_other_runs_is_refused(runs: Runs) -> None:
    words = ("experiment=tiny", "tracking=none", "seed=0,1", "hydra.sweep.dir=outputs/mine")
    claimed = Path("outputs/mine/0-seed=0/config.yaml")
    claimed.parent.mkdir(parents=True)
    claimed.write_text("seed: 0\n")
    with pytest.raises(OutputError, match=r"0-seed=0/config\.yaml: expected the settings that are asked for now"):
        multirun(words)
    assert not runs.begun


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["populaton=4,8"],
            r"populaton: .*did you mean 'population'\?\) \(in populaton=4\)",
        ),
        (["selection=rank,turnament"], r"selection: expected one of .*given turnament.*\(in selection=turnament\)"),
        (["generations=1,many"], r"generations: expected a whole number, given 'many' \(in generations=many\)"),
        (["seed=0,0"], r"multirun: expected every combination once, given seed=0 more than once"),
        (["seed=interval(0,1)"], r"seed: expected values that can be counted, given .*`forager tune`"),
        (["hydra/launcher=jobli", "seed=0,1"], r"hydra/launcher: expected one of basic.*given jobli"),
        (["hydra/launcher=joblib", "hydra.launcher.jobs=2"], r"multirun: .*jobs"),
        (["hydra.run.dir=x", "seed=0,1"], r"hydra\.run\.dir: expected one of hydra/launcher, hydra\.sweep\.dir"),
        (["hydra.sweep.dir="], r"hydra\.sweep\.dir: expected a path"),
    ],
)
def test_a_mistake_is_told_before_anything_begins(runs: Runs, words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        multirun(["experiment=tiny", *words])
    assert not runs.begun
    assert not Path("outputs").exists()


def test_what_is_the_same_for_all_is_not_written_by_hydra_as_it_may_be_secret(runs: Runs) -> None:
    multirun(["experiment=tiny", "tracking.wandb.project=hunter2hunter2", "seed=0,1"])
    (written,) = Path("outputs").rglob("multirun.yaml")
    assert "seed=0,1" in written.read_text()
    assert "hunter2hunter2" not in written.read_text()


def test_ctrl_c_stops_all_and_says_how_each_goes_on(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def hang(words: Sequence[str], log: Path, share: int | None) -> "subprocess.Popen[bytes]":
        folder = log.with_suffix("")
        if len(begun) == 1:
            folder.mkdir()
            (folder / "config.yaml").write_text("")
            os.kill(os.getpid(), signal.SIGINT)
        begun.append(runs.begin(words, log, share) if not begun else subprocess.Popen(["sleep", "60"]))
        return begun[-1]

    monkeypatch.setattr(processes, "begin", hang)
    with pytest.raises(KeyboardInterrupt) as stopped:
        multirun(["experiment=tiny", "tracking=none", "seed=0,1,2", "hydra.sweep.dir=outputs/mine"])
    one, rest = stopped.value.__notes__
    assert one == "1-seed=1 was cut off; go on with: forager resume outputs/mine/1-seed=1"
    assert rest.startswith("1 finished, 1 not begun; go on with all that is left: forager evolve --multirun ")
    assert rest.endswith("hydra.sweep.dir=outputs/mine")
    for process in begun[1:]:
        process.kill()
        process.wait()


def at_work(place: Path) -> list[psutil.Process]:
    """Return the processes of runs below a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "evo.cli" in words and "--multirun" not in words and any(str(place) in word for word in words):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_runs_beside_each_other_are_stopped_by_ctrl_c_and_gone_on_with(tmp_path: Path) -> None:
    small = [one for one in OVERRIDES if not one.startswith("generations")]
    place = tmp_path / "outputs" / "mine"
    words = ["--multirun", *small, "generations=2", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    forager = [sys.executable, "-m", "evo.cli", "evolve", *words, f"hydra.sweep.dir={place}"]
    said = tmp_path / "said"
    with said.open("w") as out:
        process = subprocess.Popen(forager, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
        wait_for(lambda: len([*place.glob("*/generations.parquet")]) == 2, 240)
        assert len(at_work(place)) == 2
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        assert process.wait(60) == 130, said.read_text()
    assert "go on with: forager resume" in said.read_text()
    assert "0 finished, 0 not begun; go on with all that is left: forager evolve --multirun" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert not at_work(place)
    subprocess.run(forager, cwd=ROOT, timeout=300, check=True)
    for seed in (0, 1):
        log = (place / f"{seed}-seed={seed}.log").read_text()
        assert (place / f"{seed}-seed={seed}" / "summary.json").is_file()
        assert log.count("$ evo.cli evolve") == 1
