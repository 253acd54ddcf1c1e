"""The command line: `forager evolve | resume | config | report | compare | pretrain`.

Owns the commands' names, their help, and how an error reaches a person: one sentence per problem on standard error
and exit code 2, never a traceback for what the user can mend. Does not own what a command does: each imports its worker
only when it is called, so that `forager --help` answers at once and loads neither torch nor Hydra.

To add a command: write a function that takes the parsed arguments, and add a `Command` to `COMMANDS`.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from evo import __version__
from fitness.errors import ConfigError, ForagerError, describe, nearest
from fitness.secrets import hide

USER_ERROR, INTERRUPTED = 2, 130

OVERRIDES = """\
overrides are field=value for a number and group=name for a file of conf/:
  forager evolve experiment=quickstart seed=1
  forager evolve experiment=tiny population=8 generations=2 hydra.run.dir=outputs/first
  forager evolve finetune=none
  forager evolve model=hub model.name=Qwen/Qwen3-0.6B
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
        COMMANDS[arguments.command].run(arguments)
    except ForagerError as error:
        for line in hide(str(error)).splitlines():
            print(f"forager: {line}", file=sys.stderr)
        return USER_ERROR
    except (OSError, MemoryError) as error:
        print(f"forager: {describe(error)}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as stop:
        print(f"forager: stopped by {stop.args[0] if stop.args else 'Ctrl-C'}", file=sys.stderr)
        return getattr(stop, "exit_code", INTERRUPTED)
    return 0


def _evolve(arguments: argparse.Namespace) -> None:
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
    except (Exception, KeyboardInterrupt):
        if not give_up_folder(plan.folder):
            _tell_how_to_go_on(plan.folder)
        raise


def _resume(arguments: argparse.Namespace) -> None:
    from evo.build import read_plan
    from evo.launch import launch
    from evo.outputs import is_finished

    plan = read_plan(arguments.run)
    if is_finished(plan.folder):
        print(f"{plan.folder} has come to its end already: forager report {plan.folder}")
        return
    try:
        launch(plan)
    except (Exception, KeyboardInterrupt):
        _tell_how_to_go_on(plan.folder)
        raise


def _tell_how_to_go_on(folder: Path) -> None:
    print(f"forager: what was recorded is kept; go on with: forager resume {shlex.quote(str(folder))}", file=sys.stderr)


def _config(arguments: argparse.Namespace) -> None:
    from evo.compose import compose_run

    print(compose_run(arguments.overrides).yaml, end="")


def _report(arguments: argparse.Namespace) -> None:
    from evo.report.page import write_report

    print(write_report(arguments.run))


def _compare(arguments: argparse.Namespace) -> None:
    from evo.report.compare import compare

    print(compare(arguments.runs))


def _pretrain(arguments: argparse.Namespace) -> None:
    from evo.outputs import check_folder
    from fitness.organism.recipe import PretrainConfig, pretrain

    config = PretrainConfig(seed=arguments.seed, steps=arguments.steps)
    check_folder(arguments.folder, "folder")
    pretrain(config, arguments.folder)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="override", help="field=value or group=name")
    parser.epilog = OVERRIDES


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder, for example outputs/first")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="run", help="folders of finished runs")


def _add_pretraining(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where the model is to be written")
    parser.add_argument("--seed", type=int, default=0, help="seed of the lives and of the weights (default 0)")
    parser.add_argument(
        "--steps", type=int, default=600, help="training steps (default 600, those of the shipped model)"
    )


COMMANDS: dict[str, Command] = {
    "evolve": Command(run=_evolve, summary="breed a population", add_arguments=_add_overrides),
    "resume": Command(run=_resume, summary="go on with a run that was interrupted", add_arguments=_add_run),
    "config": Command(run=_config, summary="print what evolve would run with", add_arguments=_add_overrides),
    "report": Command(run=_report, summary="write a run's page again", add_arguments=_add_run),
    "compare": Command(run=_compare, summary="print finished runs side by side", add_arguments=_add_runs),
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
