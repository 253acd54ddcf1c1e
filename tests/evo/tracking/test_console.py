"""The console says what happened, in lines for a log or a panel for a terminal, and ends in where to look further."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from evo.records import RunFinished
from evo.tracking.console import ConsoleTracker
from tests.evo import fake_run

HOSTILE = "eat [red]berries[/red]. [/nothing] flee [link=x]wolves."


def _play(folder: Path, console: Console, *, end: bool = True) -> None:
    tracker = ConsoleTracker(console=console)
    tracker.on_start(fake_run.started(folder))
    rows = (replace(fake_run.genomes(0)[0], strategy=HOSTILE, fitness=99.0), *fake_run.genomes(0)[1:])
    for generation in range(3):
        told = replace(
            fake_run.record(generation),
            best=0.5,
            median=0.25,
            mean=0.125,
            decisions=6_000 * (generation + 1),
            seconds=2.0,
            deaths=(("wolf", 3), ("thirst", 1_200), ("cold", 0), ("outlived", 7)),
        )
        tracker.on_generation(told, rows)
    if end:
        tracker.on_finish(RunFinished(summary=fake_run.summary(), seconds=fake_run.SECONDS))
    tracker.close()


def _text(folder: Path, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=terminal, color_system=None, legacy_windows=False)
    _play(folder, console)
    return stream.getvalue()


def test_a_log_gets_one_plain_line_per_generation(tmp_path: Path) -> None:
    lines = _text(tmp_path).splitlines()
    assert lines[0] == "fake: 16 agents in forage, 3 generations, seed 0"
    assert lines[2].startswith("generation 2/3, score best 0.500 median 0.250 mean 0.125, lifespan best ")
    assert "speed 3,000 decisions/s, ETA 0:02, ends thirst 1,200 outlived 7 wolf 3, tuned 3 kept" in lines[2]
    assert [line.split(",")[0] for line in lines[1:4]] == ["generation 1/3", "generation 2/3", "generation 3/3"]
    assert "ETA 0:00" in lines[3]
    assert "\x1b" not in "".join(lines)


def test_the_end_is_a_table_and_where_to_look_further(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    offline = folder / "wandb" / "offline-run-1"
    offline.mkdir(parents=True)
    lines = [line.strip() for line in _text(folder).splitlines()]
    table = {line.split()[1]: line for line in lines if len(line.split()) > 8}
    for policy, told in (("random", "0.000"), ("frozen", "0.183 to 0.243"), ("evolved", "75.0"), ("expert", "256")):
        assert told in table[policy]
    assert lines[-4:] == [
        f"run folder: {folder}",
        "look further:",
        f"forager report '{folder}'",
        f"wandb sync '{offline}'",
    ]


def test_a_strategy_is_never_read_as_markup(tmp_path: Path) -> None:
    assert f"best strategy (genome 0): {HOSTILE}" in _text(tmp_path)
    assert HOSTILE in _text(tmp_path, terminal=True)


def test_a_terminal_gets_a_live_panel_that_is_taken_down(tmp_path: Path) -> None:
    text = _text(tmp_path, terminal=True)
    assert "generation 3/3" in text
    assert "best 0.500 median 0.250 mean 0.125" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is hidden once and comes back


def test_an_interrupted_run_gives_the_terminal_back(tmp_path: Path) -> None:
    stream = io.StringIO()
    _play(tmp_path, Console(file=stream, force_terminal=True, width=100), end=False)
    assert stream.getvalue().count("\x1b[?25h") == 1


def test_a_run_that_goes_on_from_a_checkpoint_has_no_speed_at_first(tmp_path: Path) -> None:
    stream = io.StringIO()
    tracker = ConsoleTracker(console=Console(file=stream, width=200))
    tracker.on_start(fake_run.started(tmp_path))
    tracker.on_generation(replace(fake_run.record(1), decisions=50_000, seconds=2.0), ())
    tracker.on_generation(replace(fake_run.record(2), decisions=51_000, seconds=2.0), ())
    assert ", speed -, " in stream.getvalue().splitlines()[1]
    assert "speed 500 decisions/s" in stream.getvalue().splitlines()[2]
