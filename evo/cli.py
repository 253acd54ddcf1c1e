"""The command line: `forager evolve | resume | config | ablate | report | compare | ...`, all of them in `COMMANDS`.

Owns the commands' names, their help, and how an error reaches a person: one sentence per problem on standard error
and exit code 2, never a traceback for what the user can mend. Does not own what a command does: each imports its worker
only when it is called, so that `forager --help` answers at once and loads neither torch nor Hydra.

To add a command: write a function that takes the parsed arguments, and add a `Command` to `COMMANDS`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from evo import __version__
from fitness.errors import ConfigError, ForagerError, describe, harmless, nearest
from fitness.secrets import hide

USER_ERROR, INTERRUPTED = 2, 130
FLAGS = ("-h", "--help", "--version")
"""What may stand in a command's place."""

FORMATS = ("trl",)
"""What `export` can write."""

OVERRIDES = """\
overrides are field=value for a number and group=name for a file of conf/:
  forager evolve experiment=quickstart seed=1
  forager evolve experiment=tiny population=8 generations=2 hydra.run.dir=outputs/first
  forager evolve finetune=none
  forager evolve model=hub model.name=Qwen/Qwen3-0.6B
  forager evolve --multirun experiment=tiny seed=0,1 selection=tournament,lexicase hydra/launcher=joblib
"""

ABLATION = """\
arms are files of conf/experiment/ablation/ (default all); overrides hold for every run:
  forager ablate arms=[frozen,selection,finetune_only,joint] seeds=10
  forager ablate seeds=5 jobs=2 name=short budget.decisions=50000 tracking=none
runs are in outputs/ablation-NAME/ARM-SEED/; the same command goes on where it was stopped
"""

TUNING = """\
overrides with several values are the space that is searched, the others hold for every run (docs/sweeps.md):
  forager tune experiment=tiny 'finetune.beta=tag(log, interval(0.05,1))' selection=tournament,lexicase trials=30
  forager tune 'population=range(8,33,8)' goals=[median_score,flops] sampler=nsgaii name=cheap jobs=2
words of its own: trials, jobs, name, goals, sampler (tpe, random, nsgaii), sampler_seed
trials are runs in outputs/tune-NAME/trial-NNN/; the same command goes on where it was stopped, also beside itself
"""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One word of the command line."""

    run: Callable[[argparse.Namespace], None]
    """Does the work; raises ForagerError for what the user can mend."""
    summary: str
    """One line for the list of commands."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    """Declares the arguments on the command's own parser."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for an error of the user's, 128 + its number after a signal."""
    try:
        arguments = _parse(list(sys.argv[1:] if argv is None else argv))
        _run(arguments)
    except ForagerError as error:
        _tell(error, str(error))
        return USER_ERROR
    except (OSError, MemoryError) as error:
        _tell(error, describe(error))
        return USER_ERROR
    except KeyboardInterrupt as stop:
        _tell(stop, f"stopped by {stop.args[0] if stop.args else 'Ctrl-C'}")
        return getattr(stop, "exit_code", INTERRUPTED)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    """Run a command; somebody else's code in it may not end the process on its own."""
    try:
        COMMANDS[arguments.command].run(arguments)
    except SystemExit as error:
        raise ForagerError(
            f"{arguments.command}: expected parts that let it end by itself, got {describe(error)}"
        ) from error


def _tell(error: BaseException, text: str) -> None:
    """Print an error's notes and what it says, without secrets and without anything that a terminal obeys."""
    for line in [*getattr(error, "__notes__", ()), *text.splitlines()]:
        print(f"forager: {harmless(hide(line))}", file=sys.stderr)


def _evolve(arguments: argparse.Namespace) -> None:
    if arguments.multirun:
        from evo.sweep.multirun import multirun

        print(multirun(arguments.overrides))
    else:
        _evolve_one(arguments)


def _evolve_one(arguments: argparse.Namespace) -> None:
    from evo.build import build_run
    from evo.launch import launch
    from evo.outputs import FIELD, claim_folder, claim_numbered_folder, give_up_folder

    plan = build_run(arguments.overrides)
    if any(override.startswith(f"{FIELD}=") for override in arguments.overrides):
        claim_folder(plan.folder, plan.yaml)
    else:
        plan = replace(plan, folder=claim_numbered_folder(plan.folder, plan.yaml))
    try:
        launch(plan)
    except BaseException:
        give_up_folder(plan.folder)
        raise


def _resume(arguments: argparse.Namespace) -> None:
    from evo.build import read_plan
    from evo.launch import launch
    from evo.outputs import is_finished

    plan = read_plan(arguments.run)
    if is_finished(plan.folder):
        print(f"{plan.folder} has come to its end already: forager report {plan.folder}")
        return
    launch(plan)


def _config(arguments: argparse.Namespace) -> None:
    from evo.compose import compose_run

    print(compose_run(arguments.overrides).yaml, end="")


def _ablate(arguments: argparse.Namespace) -> None:
    from evo.ablate import Ablation, ablate

    print(ablate(Ablation.parse(arguments.words)))


def _tune(arguments: argparse.Namespace) -> None:
    try:
        from evo.sweep.tune import Tuning, tune
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "optuna":
            raise
        raise ConfigError("tune: expected Optuna, found none: pip install 'forager-evo[tune]'") from error
    print(tune(Tuning.parse(arguments.words)))


def _report(arguments: argparse.Namespace) -> None:
    from evo.report.page import write_report

    print(write_report(arguments.run))


def _compare(arguments: argparse.Namespace) -> None:
    from evo.report.compare import write_comparison

    print(write_comparison(arguments.runs, against=arguments.against, to=arguments.to))


def _schedule(arguments: argparse.Namespace) -> None:
    from evo.report.schedule import schedule, told

    print(told(schedule(arguments.run)))


def _export(arguments: argparse.Namespace) -> None:
    from evo.export.trl import Export, export_trl

    folder = arguments.to or arguments.run / arguments.format
    print(export_trl(Export(run=arguments.run, folder=folder, lives=arguments.lives, genome=arguments.genome)))


def _workspace(arguments: argparse.Namespace) -> None:
    from evo.tracking.workspace import FILE, Wanted, write_workspace

    wanted = Wanted.of(arguments.run, project=arguments.project, entity=arguments.entity)
    print(write_workspace(wanted, arguments.to or (arguments.run or Path()) / FILE))


def _pretrain(arguments: argparse.Namespace) -> None:
    from evo.outputs import check_folder
    from fitness.organism.recipe import PretrainConfig, pretrain

    config = PretrainConfig(seed=arguments.seed, steps=arguments.steps)
    check_folder(arguments.folder, "folder")
    pretrain(config, arguments.folder)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="override", help="field=value or group=name")
    parser.epilog = OVERRIDES


def _add_evolving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="run every combination of values such as seed=0,1 (docs/sweeps.md)",
    )
    _add_overrides(parser)


def _add_ablation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="word", help="arms=[a,b], seeds=N, jobs=N, name=NAME or an override"
    )
    parser.epilog = ABLATION


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="word", help="trials=N, jobs=N, name=NAME, goals=[..] or an override"
    )
    parser.epilog = TUNING


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder, for example outputs/first")


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="run", help="folders of finished runs")
    parser.add_argument("--against", help="name of the arm that all others are compared with (default all pairs)")
    parser.add_argument("--to", type=Path, help="folder to write (default `comparison` beside the runs)")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help=f"whose format (default {FORMATS[0]})")
    parser.add_argument("--to", type=Path, help="new folder to write (default RUN/FORMAT)")
    parser.add_argument("--lives", type=float, default=0.5, help="share of the lives, longest first (default 0.5)")
    parser.add_argument("--genome", type=int, help="id of the genome (default the best, and lives of its peers)")


def _add_workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=Path, help="a run's folder: its W&B project, and its group there")
    parser.add_argument("--project", help="name on W&B (default the run's)")
    parser.add_argument("--entity", help="user or team on W&B (default whom the API key belongs to)")
    parser.add_argument("--to", type=Path, help="file to write (default workspace.json in RUN, or here)")


def _add_pretraining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where the model is to be written")
    parser.add_argument("--seed", type=int, default=0, help="seed of the lives and of the weights (default 0)")
    parser.add_argument(
        "--steps", type=int, default=600, help="training steps (default 600, those of the shipped model)"
    )


COMMANDS: dict[str, Command] = {
    "evolve": Command(run=_evolve, summary="breed a population", add_arguments=_add_evolving),
    "resume": Command(run=_resume, summary="go on with a run that was interrupted", add_arguments=_add_run),
    "config": Command(run=_config, summary="print what evolve would run with", add_arguments=_add_overrides),
    "ablate": Command(run=_ablate, summary="run arms of an experiment, and compare them", add_arguments=_add_ablation),
    "tune": Command(run=_tune, summary="look for the best settings", add_arguments=_add_tuning),
    "report": Command(run=_report, summary="write a run's page again", add_arguments=_add_run),
    "compare": Command(run=_compare, summary="compare arms of finished runs", add_arguments=_add_comparison),
    "schedule": Command(run=_schedule, summary="print how a run's best was trained", add_arguments=_add_run),
    "export": Command(run=_export, summary="write what other trainers can learn from", add_arguments=_add_export),
    "workspace": Command(run=_workspace, summary="write a dashboard of tracked runs", add_arguments=_add_workspace),
    "pretrain": Command(run=_pretrain, summary="train the organism from nothing", add_arguments=_add_pretraining),
}


class _Parser(argparse.ArgumentParser):
    """Speaks of mistakes as the rest of Forager does."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"arguments: {message}; see `{self.prog} --help`")


def _parse(argv: list[str]) -> argparse.Namespace:
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise ConfigError(
            f"command: expected one of {', '.join(COMMANDS)}, given {argv[0]!r}{nearest(argv[0], COMMANDS)}"
        )
    if argv and argv[0].startswith("-") and argv[0] not in FLAGS:
        raise ConfigError(
            f"arguments: expected a command or one of {', '.join(FLAGS)}, given {argv[0]!r}{nearest(argv[0], FLAGS)}"
        )
    if argv and argv[0] == "evolve":
        argv = ["evolve", *sorted(argv[1:], key=lambda word: not word.startswith("-"))]  # flags may stand anywhere
    return _parser().parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="forager", description="Breeds language-model agents that learn to survive.")
    parser.add_argument("--version", action="version", version=f"forager {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        child = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary.capitalize()}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(child)
    return parser


if __name__ == "__main__":
    sys.exit(main())
