"""A study loses no trial: whoever was killed, the next one goes on; and chooses by no held-out world."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from evo.sweep.asked import hydra_at_home, tell_apart
from evo.sweep.goals import GOALS, Outcome, read_outcome
from evo.sweep.space import Space
from evo.sweep.study import Claim, Study
from evo.sweep.tune import Tuning, tune
from fitness.errors import ConfigError, ForagerError, OutputError
from fitness.files import write_text_atomically
from fitness.telemetry import GrowingTable
from tests.evo import fake_run
from tests.integration.runs import OVERRIDES, command, content, heed_signals, said, wait_for

SPACE = ("finetune.beta=tag(log, interval(0.05,1))", "population=range(8,33,8)")
FIXED = ("experiment=tiny", "tracking=none")
WORDS = [*FIXED, *SPACE, "name=here", "jobs=1"]


def write_trial(folder: Path, overrides: tuple[str, ...], *, score: float | None = None) -> None:
    """Write what a run leaves whose median grows with beta and whose cost grows with the population."""
    values = dict(one.split("=") for one in overrides)
    median = float(values["finetune.beta"]) if score is None else score
    size = int(values["population"])
    records = GrowingTable(folder, "generations", run="trial")
    for generation, height in enumerate((0.0, median)):
        record = replace(fake_run.record(generation, 2), median=height, decisions=size)
        records.append(generation, [record.row()])
    budget = replace(fake_run.summary().budget, forward_flops=1e12 * size)
    write_text_atomically(folder / "summary.json", replace(fake_run.summary(), budget=budget).to_json())
    (folder / "report.html").write_text("")


def begin(claim: Claim, folder: Path, overrides: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    write_trial(folder, overrides)
    return subprocess.Popen(["true"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evo.sweep.tune._check", lambda space, fixed: None)  # tested by itself; takes seconds
    monkeypatch.setattr("evo.sweep.tune._PAUSE", 0.01)
    return tmp_path / "outputs" / "tune-here"


def study(folder: Path, sampler: str = "random") -> Study:
    with hydra_at_home():
        space = Space.of(tell_apart(SPACE).swept)
    return Study(folder, space=space, goals=["median_score"], sampler=sampler, seed=0, settings="")


def opened(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="forager", storage=f"sqlite:///{folder / 'study.db'}")


def tried(folder: Path) -> list[dict[str, object]]:
    return [trial.params for trial in opened(folder).trials]


def test_words_are_fields_or_go_to_the_runs() -> None:
    found = Tuning.parse([*WORDS, "trials=7", "goals=[median_score,flops]", "sampler=nsgaii", "sampler_seed=3"])
    assert found == Tuning(
        trials=7, jobs=1, name="here", goals=("median_score", "flops"), sampler="nsgaii", sampler_seed=3,
        overrides=(*FIXED, *SPACE),
    )  # fmt: skip
    assert Tuning().goals == ("median_score",)
    assert Tuning.parse([*SPACE, "goals=best_score"]).goals == ("best_score",)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trials=0", "trials: expected"),
        ("trials=many", "trials: expected a whole number, given 'many'"),
        ("name=../x", "name: expected a part of a folder's name"),
        ("goals=[]", "goals: expected different names, at least one"),
        ("goals=[median]", r"goals: expected one of median_score, .*given median \(did you mean 'median_score'\?\)"),
        ("sampler=tpf", r"sampler: expected one of tpe, random, nsgaii, given tpf \(did you mean 'tpe'\?\)"),
        ("hydra.run.dir=x", r"overrides: expected none of Hydra's but hydra\.searchpath, given hydra\.run\.dir=x"),
    ],
)
def test_words_that_make_no_sense_are_refused(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Tuning.parse([*SPACE, word])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["selection=rank,turnament"], "selection: expected one of .*given turnament"),
        (["finetune.bata=interval(0.05,1)"], r"finetune\.bata: expected a field of finetune.*did you mean 'beta'"),
        (["population=range(1,17,8)"], "population: expected an integer of at least 2, got 1"),
    ],
)
def test_a_value_that_no_run_can_have_is_refused_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        tune(Tuning.parse([*FIXED, *words]), begin)
    assert not (tmp_path / "outputs").exists()


def test_without_optuna_the_extra_is_named() -> None:
    program = (
        f"import sys; sys.modules['optuna'] = None; from evo.cli import main; sys.exit(main({['tune', *WORDS]!r}))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "pip install 'forager-evo[tune]'" in answer.stderr


def test_a_study_finds_the_better_settings_and_goes_on_to_a_total(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tune(Tuning.parse([*WORDS, "trials=3"]), begin)
    assert "trials: 3 finished, 0 failed, 0 in work; best 3:" in first
    text = tune(Tuning.parse([*WORDS, "trials=12"]), begin)
    trials = opened(place).trials
    assert len(trials) == 12
    assert [trial.value for trial in trials] == [trial.params["finetune.beta"] for trial in trials]
    best = max(trials, key=lambda trial: trial.value or 0)
    rows = [line for line in text.splitlines() if line.startswith("| 0")]
    assert len(rows) == 10
    assert rows[0] == f"| {best.number:03} | {best.value:.4g} | {best.value:.4g} | {best.params['population']} |"
    mattered = text.splitlines()[-1]
    assert mattered.startswith("what mattered for median_score (PED-ANOVA, shares of 1, 12 trials): finetune.beta ")
    assert (place / "trials.md").read_text() == text + "\n"
    assert sorted(path.name for path in place.glob("trial-*")) == [f"trial-{number:03}" for number in range(12)]
    assert "3 of 12 trials" in capsys.readouterr().out


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 13), ("random", 5), ("nsgaii", 19)])
def test_every_sampler_makes_the_same_trials_whether_it_was_stopped_or_not(
    tmp_path: Path, sampler: str, trials: int
) -> None:
    def tell_next(mine: Study) -> None:
        claim = mine.take(trials)
        assert claim is not None
        mine.tell(claim, [float(claim.overrides[0].partition("=")[2])])

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts = study(tmp_path / "whole", sampler), study(tmp_path / "parts", sampler)
    for number in range(trials):
        tell_next(whole)
        parts = study(tmp_path / "parts", sampler) if number in (3, trials - 2) else parts
        tell_next(parts)
    assert tried(tmp_path / "whole") == tried(tmp_path / "parts")
    assert len({str(one) for one in tried(tmp_path / "whole")}) == trials


def test_of_several_goals_the_front_is_told(place: Path) -> None:
    text = tune(Tuning.parse([*WORDS, "trials=10", "goals=[median_score,flops]", "sampler=nsgaii"]), begin)
    points = [trial.values for trial in opened(place).trials]
    front = [one for one in points if not any(o[0] >= one[0] and o[1] <= one[1] and o != one for o in points)]
    assert f"Pareto front of {len(front)}:" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| 0")]
    assert [row[1] for row in rows] == [f"{one[0]:.4g}" for one in sorted(front, key=lambda one: -one[0])]
    assert "what mattered for flops (PED-ANOVA, shares of 1, 10 trials): population " in text


def test_a_run_that_fails_is_a_failed_trial_and_one_that_is_killed_is_begun_again(place: Path) -> None:
    codes = iter(["exit 2", "kill -9 $$", "kill -9 $$", "true", "kill -9 $$", "kill -9 $$", "kill -9 $$"])
    begun: list[int] = []

    def unlucky(claim: Claim, folder: Path, overrides: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        begun.append(claim.number)
        code = next(codes, "true")
        if code == "true":
            write_trial(folder, overrides)
        return subprocess.Popen(["sh", "-c", code])

    text = tune(Tuning.parse([*WORDS, "trials=4"]), unlucky)
    assert begun == [0, 1, 1, 1, 2, 2, 2, 3]
    states = [trial.state for trial in opened(place).trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert opened(place).trials[0].user_attrs["why"] == "exit code 2: see outputs/tune-here/trial-000.log"
    assert "2 finished, 2 failed" in text


def test_a_study_in_which_nothing_ends_is_an_error(place: Path) -> None:
    with pytest.raises(ForagerError, match=r"expected a trial to come to its end, none did: see .*trial-\*\.log"):
        tune(Tuning.parse([*WORDS, "trials=2"]), lambda *_: subprocess.Popen(["false"]))


def test_a_score_that_is_no_number_is_a_failed_trial(place: Path) -> None:
    def lost(claim: Claim, folder: Path, overrides: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        write_trial(folder, overrides, score=math.nan if claim.number == 0 else 0.5)
        return subprocess.Popen(["true"])

    assert "1 finished, 1 failed" in tune(Tuning.parse([*WORDS, "trials=2"]), lost)


@pytest.mark.parametrize(
    ("words", "what"),
    [(["goals=[flops]"], "goals"), (["sampler=random"], "sampler"), (["seed=4"], "runs"), (["elites=2,3"], "space")],
)
def test_another_study_of_the_same_name_is_refused(place: Path, words: list[str], what: str) -> None:
    tune(Tuning.parse([*WORDS, "trials=1"]), begin)
    with pytest.raises(OutputError, match=rf"expected the settings that the study began with, given another {what}:"):
        tune(Tuning.parse([*WORDS, "trials=1", *words]), begin)


def test_goals_are_read_where_they_say(tmp_path: Path) -> None:
    write_trial(tmp_path, ("finetune.beta=0.25", "population=8"))
    outcome = read_outcome(tmp_path)
    last, found = outcome.generations[1], {name: goal.read(outcome) for name, goal in GOALS.items()}
    assert found == {
        "median_score": 0.25,
        "mean_score": last.mean,
        "best_score": last.best,
        "heldout_score": 0.684,
        "flops": 8e12 + 6e13,
        "decisions": 1_200_000,
        "seconds": pytest.approx(outcome.generations[0].seconds + last.seconds),
    }
    assert [name for name, goal in GOALS.items() if goal.direction == "minimize"] == ["flops", "decisions", "seconds"]


def test_held_out_worlds_do_not_move_the_default(tmp_path: Path) -> None:
    write_trial(tmp_path, ("finetune.beta=0.25", "population=8"))
    before = read_outcome(tmp_path)
    moved = tuple((name, replace(result, score=result.score + 1)) for name, result in before.summary.heldout)
    after = Outcome(generations=before.generations, summary=replace(before.summary, heldout=moved))
    changed = [name for name, goal in GOALS.items() if goal.read(before) != goal.read(after)]
    assert changed == ["heldout_score"]
    assert "heldout_score" not in Tuning().goals


def hold(folder: Path, number: int) -> None:
    """Take trials, say so, and wait to be killed."""
    mine = study(folder)
    claims = [mine.take(10) for _ in range(number)]
    (folder / "taken").write_text("\n".join(" ".join(claim.overrides) for claim in claims if claim))
    time.sleep(60)


def elsewhere(do: Callable[..., None], *arguments: object) -> "subprocess.Popen[bytes]":
    words = ", ".join(repr(str(one) if isinstance(one, Path) else one) for one in arguments[1:])
    program = f"from pathlib import Path; from {do.__module__} import {do.__name__} as do; "
    program += f"do(Path({str(arguments[0])!r}), {words})"
    return subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3])


def test_a_trial_belongs_to_one_process_until_that_is_killed(tmp_path: Path) -> None:
    other = elsewhere(hold, tmp_path, 2)
    wait_for((tmp_path / "taken").exists)
    mine = study(tmp_path)
    new = mine.take(10)
    assert new is not None
    assert (new.number, new.adopted) == (2, False)
    other.kill()
    other.wait()
    left = [mine.take(10), mine.take(10)]
    assert [(claim.number, claim.adopted) for claim in left if claim] == [(0, True), (1, True)]
    assert [" ".join(claim.overrides) for claim in left if claim] == (tmp_path / "taken").read_text().splitlines()
    assert mine.take(3) is None
    mine.tell(new, [0.5])
    assert [trial.state.name for trial in mine.trials] == ["RUNNING", "RUNNING", "COMPLETE"]


def runs_of(place: Path) -> list[psutil.Process]:
    """Return the processes of runs in a study's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "evo.cli" in words and any("outputs/tune-here/trial-" in word for word in words):
            found += [process] if process.cwd() == str(place) else []
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_whose_processes_are_killed_loses_nothing(tmp_path: Path) -> None:
    fixed = [one for one in OVERRIDES if not one.startswith("population")]
    words = ["tune", *fixed, "population=4,6", "finetune.beta=interval(0.1,1)", "trials=2", "jobs=1", "name=here"]
    place, any_ = tmp_path / "outputs" / "tune-here", tmp_path / "any"
    first = command(any_, *words)
    wait_for(lambda: any(place.glob("trial-000/checkpoints/generation=*")), 240)
    first.kill()  # and its run
    (run,) = runs_of(tmp_path)
    run.kill()
    first.join()
    second = command(any_, *words)
    wait_for(lambda: any(place.glob("trial-001/checkpoints/generation=*")), 240)
    second.kill()  # its run goes on without it
    second.join()
    assert len(runs_of(tmp_path)) == 1
    third = command(any_, *words, plant=heed_signals)
    third.join(300)
    assert third.exitcode == 0, said(any_)
    trials = opened(place).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    for trial in trials:
        outcome = read_outcome(place / f"trial-{trial.number:03}")
        assert trial.value == outcome.last.median
    begun = [(place / f"trial-00{number}.log").read_text().count("$ evo.cli") for number in (0, 1)]
    assert begun == [2, 1]
    assert "$ evo.cli resume" in (place / "trial-000.log").read_text()
    whole = tmp_path / "whole" / "trial-000"
    mine = [f"{key}={value}" for key, value in trials[0].params.items()]
    process = command(whole, "evolve", *fixed, *mine, f"hydra.run.dir={whole}")
    process.join(240)
    assert content(whole) == content(place / "trial-000")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_commands_beside_each_other_share_a_study_and_no_trial_is_run_twice(tmp_path: Path) -> None:
    place, any_ = tmp_path / "outputs" / "tune-here", tmp_path / "any"
    words = ["tune", *OVERRIDES, "finetune.beta=interval(0.1,1)", "trials=4", "jobs=1", "name=here"]
    both = [command(any_, *words) for _ in range(2)]
    for process in both:
        process.join(600)
        assert process.exitcode == 0, said(any_)
    trials = opened(place).trials
    assert [(trial.number, trial.state) for trial in trials] == [(number, TrialState.COMPLETE) for number in range(4)]
    assert len({trial.params["finetune.beta"] for trial in trials}) == 4
    assert [(place / f"trial-00{number}.log").read_text().count("$ evo.cli") for number in range(4)] == [1] * 4
    begun = [trial.datetime_start for trial in trials if trial.datetime_start]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    assert begun[1] < ended[0], "expected the two to work at the same time"


@pytest.mark.slow
def test_a_signal_stops_the_runs_and_says_how_to_go_on(tmp_path: Path) -> None:
    place, any_ = tmp_path / "outputs" / "tune-here", tmp_path / "any"
    words = ["tune", *OVERRIDES, "finetune.beta=interval(0.1,1)", "trials=2", "jobs=1", "name=here"]
    process = command(any_, *words, plant=heed_signals)
    wait_for(lambda: (place / "trial-000" / "config.yaml").exists(), 120)
    os.kill(process.pid, signal.SIGTERM)
    process.join(90)
    assert process.exitcode == 128 + signal.SIGTERM
    assert "go on with the same command" in said(any_)
    assert not runs_of(tmp_path)
    assert [trial.state for trial in opened(place).trials] == [TrialState.RUNNING]
