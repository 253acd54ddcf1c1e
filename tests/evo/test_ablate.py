"""Arms by seeds: what is asked for is run once, whatever stops it; and every arm is what its file says."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pyarrow.compute as pc
import pytest

from evo.ablate import Ablation, Task, ablate, known_arms
from evo.build import build_run
from evo.compose import CONF_FOLDER, from_yaml
from evo.outputs import working_in
from evo.report.arms import differences, flat
from fitness.environments.forage.policies import GRAMMAR
from fitness.errors import ConfigError, ForagerError, OutputError
from fitness.telemetry import read_table
from tests.evo import fake_run
from tests.integration.runs import OVERRIDES, command, said, wait_for

BUDGET = "budget.decisions=200000"
UNTUNED = {"finetune._target_"}
FIXED = {"algorithm.strategies"}
ARMS: dict[str, set[str]] = {
    "joint": set(),
    "joint_baldwinian": {"algorithm.inheritance"},
    "selection": UNTUNED,
    "prompt_only": UNTUNED | {"variation.adapter_mutation_rate"},
    "adapter_only": UNTUNED | FIXED | {"variation.strategy_mutation_rate"},
    "random_selection": UNTUNED | {"algorithm._target_"},
    "best_of_n": UNTUNED | {"algorithm._target_"},
    "frozen": UNTUNED | {"algorithm._target_", "copies"},
    "expert_rules": UNTUNED | {"algorithm._target_", "copies"},
    "low_rank_es": UNTUNED | {"algorithm._target_"},
    "finetune_only": {"algorithm._target_", "copies", "population", "episodes"},
    "grpo": {"algorithm._target_", "copies", "population", "episodes", "elites", "finetune._target_"},
}
"""In which fields an arm differs from `joint`; what another component has of its own goes without saying."""


def settings(arm: str) -> dict[str, str]:
    found = flat(from_yaml(build_run([f"experiment=ablation/{arm}"]).yaml), "")
    return {field: value for field, value in found if field != "tracking.wandb.experiment"}  # the arm's own name


def test_every_arm_differs_from_joint_in_what_its_name_says_and_no_more() -> None:
    whole = {arm: settings(arm) for arm in known_arms()}
    assert {arm: {*differences([whole["joint"], given])} for arm, given in whole.items()} == ARMS
    assert {given["budget.decisions"] for given in whole.values()} == {"200000"}
    for given in whole.values():  # a generation is as long, and tunes on as many lives
        assert int(given["population"]) * int(given["episodes"]) == 192
    told = {arm: given["algorithm.strategies"] for arm, given in whole.items()}
    assert told["joint"] == told["selection"] == told["prompt_only"] == told["best_of_n"] == "[]"
    assert len({told[arm] for arm in ("frozen", "adapter_only", "low_rank_es", "finetune_only", "grpo")}) == 1
    assert told["frozen"] != told["expert_rules"]
    assert {f"['{given['split']}']" for given in whole.values()} == {
        told["frozen"]
    }  # all gains are over the same prompt


def test_what_arms_are_told_can_be_told() -> None:
    for arm in ("frozen", "expert_rules"):
        (text,) = build_run([f"experiment=ablation/{arm}"]).config.algorithm.strategies  # type: ignore[attr-defined]
        assert GRAMMAR.render(GRAMMAR.parse(text)) == text


def begin(task: Task, failing: str = "frozen-0") -> "subprocess.Popen[bytes]":
    """Write what a run leaves, or nothing for one that fails."""
    if task.folder.name != failing:
        plan = build_run(task.command()[4:])
        fake_run.write_run(task.folder)
        text = (task.folder / "summary.json").read_text().replace('"seed": 0', f'"seed": {task.seed}')
        (task.folder / "summary.json").write_text(text)
        (task.folder / "config.yaml").write_text(plan.yaml)
        (task.folder / "report.html").write_text("")
    return subprocess.Popen(["true"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs" / "ablation-here"


def test_words_are_fields_or_go_to_every_run() -> None:
    found = Ablation.parse(["arms=[joint, frozen]", "seeds=3", BUDGET, "jobs=2", "name=short", "tracking=none"])
    assert found == Ablation(
        arms=("joint", "frozen"), seeds=3, jobs=2, name="short", overrides=(BUDGET, "tracking=none")
    )
    assert Ablation.parse([]).arms == known_arms()
    (task,) = Ablation.parse(["arms=[joint]", "seeds=1", BUDGET]).tasks()
    assert task.command()[3:] == [
        "evolve", "experiment=ablation/joint", BUDGET, "seed=0", "hydra.run.dir=outputs/ablation-main/joint-0"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("seeds=many", "seeds: expected a whole number, given 'many'"),
        ("seeds=0", "seeds: expected"),
        ("arms=[]", "arms: expected different names, at least one"),
        ("arms=[joint,joint]", "arms: expected different names"),
        ("name=../x", "name: expected a part of a folder's name"),
        ("seed=3", "overrides: expected none of seed, experiment, hydra.run.dir, given seed=3"),
    ],
)
def test_words_that_make_no_sense_are_refused(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Ablation.parse([word])


def test_an_unknown_arm_is_refused_before_anything_begins(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"experiment: expected one of .*ablation/joint.* given ablation/jont"):
        ablate(Ablation(arms=("frozen", "jont"), name="here"), begin)
    assert not place.exists()


def test_what_is_finished_is_left_and_what_failed_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = Ablation(arms=("joint", "frozen"), seeds=2, jobs=2, name="here", overrides=("tracking=none",))
    with pytest.raises(ForagerError, match=r"expected all runs to finish, 1 of 4 did not: see .*frozen-0\.log"):
        ablate(asked, begin)
    assert "[4/4]" in capsys.readouterr().out
    written = {path: path.stat().st_mtime_ns for path in place.rglob("*.parquet")}
    again: list[str] = []

    def mend(task: Task) -> "subprocess.Popen[bytes]":
        again.append(task.folder.name)
        return begin(task, failing="")

    with pytest.raises(OutputError, match=r"joint-0/config\.yaml: expected the settings that are asked for now"):
        ablate(Ablation(arms=("joint",), seeds=1, name="here", overrides=("temperature=0.7",)), mend)
    text = ablate(asked, mend)
    assert again == ["frozen-0"]
    assert written.items() <= {path: path.stat().st_mtime_ns for path in place.rglob("*.parquet")}.items()
    assert "| joint | 2 |" in text
    assert "| frozen | 2 |" in text
    assert (place / "comparison" / "comparison.json").is_file()


@pytest.mark.parametrize("finishes", [True, False])
def test_a_run_that_outlived_its_ablation_is_left_alone_until_it_ends(place: Path, finishes: bool) -> None:
    asked = Ablation(arms=("joint",), seeds=1, jobs=1, name="here")
    (task,) = asked.tasks()
    task.folder.mkdir(parents=True)
    draft = task.folder / ".config.yaml.1.tmp"
    at_work, begun = threading.Event(), []

    def outlive() -> None:
        with working_in(task.folder):
            at_work.set()
            time.sleep(1)
            assert not begun
            if finishes:
                begin(task).wait()
            else:
                draft.write_text("half")

    def note(one: Task) -> "subprocess.Popen[bytes]":
        begun.append(one)
        assert not draft.exists()
        return begin(one)

    other = threading.Thread(target=outlive)
    other.start()
    at_work.wait()
    assert "joint scores" in ablate(asked, note)
    other.join()
    assert begun == ([] if finishes else [task])


def test_a_signal_stops_all_runs_and_says_how_to_go_on(place: Path) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def hang(task: Task) -> "subprocess.Popen[bytes]":
        begun.append(subprocess.Popen(["sleep", "60"]))
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return begun[-1]

    since = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as stopped:
        ablate(Ablation(arms=("joint",), seeds=3, jobs=2, name="here"), hang)
    assert "go on with the same command" in stopped.value.__notes__[0]
    assert time.monotonic() - since < 30
    assert [process.poll() for process in begun] in ([-signal.SIGTERM] * 2, [-signal.SIGTERM, None])
    begun[-1].kill()
    begun[-1].wait()


@pytest.mark.slow
def test_real_runs_of_cheap_arms(tmp_path: Path) -> None:
    mine = [
        one
        for one in OVERRIDES
        if not one.startswith(("experiment", "generations", "population", "episodes", "finetune"))
    ]
    words = ["arms=[frozen,prompt_only]", "seeds=1", "population=4", "episodes=2", "budget.decisions=1200", *mine]
    process = command(tmp_path / "any", "ablate", *words)
    process.join(240)
    assert process.exitcode == 0, said(tmp_path / "any")
    place = tmp_path / "outputs/ablation-main"
    told = json.loads((place / "comparison/comparison.json").read_text())
    assert {arm["name"] for arm in told["arms"]} == {"frozen", "prompt_only"}
    genomes = read_table(place / "prompt_only-0", "genomes")
    assert len(pc.unique(genomes["strategy"])) > 4
    assert len({path.name for path in (place / "frozen-0/adapters").iterdir()}) == 1


@pytest.mark.slow
@pytest.mark.fault(
    "`kill -9` of `forager ablate`",
    "its runs live on; the same command leaves them to it, and goes on with those that were killed too",
)
def test_an_ablation_that_is_killed_goes_on(tmp_path: Path) -> None:
    mine = [one for one in OVERRIDES if not one.startswith(("experiment", "finetune"))]
    words = ["ablate", "arms=[prompt_only]", "seeds=2", "jobs=2", "name=here", *mine]
    place = tmp_path / "outputs" / "ablation-here"
    first = command(tmp_path / "any", *words)
    for seed in range(2):
        wait_for(lambda seed=seed: any((place / f"prompt_only-{seed}/checkpoints").glob("generation=*")), 240)
    first.kill()
    first.join()
    runs = {
        seed: next(one for one in psutil.process_iter(["cmdline"]) if f"seed={seed}" in (one.info["cmdline"] or [])
                   and one.cwd() == str(tmp_path))
        for seed in range(2)
    }  # fmt: skip
    runs[0].kill()
    again = command(tmp_path / "any", *words)
    again.join(240)
    assert again.exitcode == 0, said(tmp_path / "any")
    assert [(place / f"prompt_only-{seed}.log").read_text().count("$ evo.cli") for seed in range(2)] == [2, 1]
    assert len(json.loads((place / "comparison/comparison.json").read_text())["arms"][0]["runs"]) == 2


def test_every_file_of_the_folder_is_an_arm() -> None:
    assert {path.stem for path in (CONF_FOLDER / "experiment/ablation").iterdir()} == {*known_arms()} == {*ARMS}
