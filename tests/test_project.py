"""Rules of the house that no linter knows: sizes, markers of types, and words that must not be in the repository."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import catalogue, reliability

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("evo", "finetune", "fitness")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500
MAX_POSITIONAL = 6
MAX_METHODS = 15
LARGEST_FILE = 4 * 2**20

FORBIDDEN = re.compile(r"(?<![\w./])/(?:work|root|home|Users|tmp|opt)/[\w.-]+", re.ASCII)
"""Absolute paths of somebody's machine."""
ALLOWED_UPWARDS = {"evo": ("finetune", "fitness"), "finetune": ("fitness",), "fitness": ()}


def sources(*folders: str) -> list[Path]:
    """Return the Python files under the folders, sorted."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.AST) -> int:
    return int(node.end_lineno) - int(node.lineno) + 1  # type: ignore[attr-defined]


def named(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {getattr(node, 'name', '')}"  # type: ignore[attr-defined]


def repository_files() -> list[Path]:
    """Return what is or would be committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip("not a git repository")
    return [path for name in sorted(set(answer.stdout.split("\0")) - {""}) if (path := ROOT / name).is_file()]


def test_functions_are_short() -> None:
    long = [
        f"{named(path, node)}: {lines_of(node)} lines"
        for path in sources(*PACKAGES, "tests")
        for node in functions(path)
        if lines_of(node) > MAX_FUNCTION_LINES
    ]
    assert not long


def test_functions_take_few_positional_arguments() -> None:
    greedy = [
        named(path, node)
        for path in sources(*PACKAGES)
        for node in functions(path)
        if len([a for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]) > MAX_POSITIONAL
    ]
    assert not greedy


def test_files_are_short() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES, "tests")}
    assert not {str(path.relative_to(ROOT)): count for path, count in counts.items() if count > MAX_FILE_LINES}


def test_classes_have_few_methods() -> None:
    large = [
        named(path, node)
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and sum(isinstance(one, ast.FunctionDef) for one in node.body) > MAX_METHODS
    ]
    assert not large


def test_every_module_says_what_it_owns() -> None:
    silent = [path for path in sources(*PACKAGES) if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not [str(path.relative_to(ROOT)) for path in silent]


def test_every_package_is_typed_and_whole() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)
    folders = {path.parent for path in sources(*PACKAGES)}
    assert not [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]


def test_imports_go_downwards_only() -> None:
    upwards = [
        f"{named(path, node)} imports {module}"
        for package, below in ALLOWED_UPWARDS.items()
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for module in imported(node)
        if module in PACKAGES and module != package and module not in below
    ]
    assert not upwards


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


def test_no_path_of_anybodys_machine() -> None:
    found = []
    for path in repository_files():
        if path.suffix in {".safetensors", ".png"} or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if match := FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    assert not found


def test_no_file_is_large() -> None:
    large = [path for path in repository_files() if path.stat().st_size > LARGEST_FILE]
    assert not [str(path.relative_to(ROOT)) for path in large]


def test_constraints_pin_every_requirement_exactly() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[name.lower().replace("_", "-")] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~\[ ]", requirement, maxsplit=1)[0].lower() for requirement in wanted}
    assert not names - pins.keys()
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins.values())
    assert pins["torch"] == "2.13.0"


def test_the_table_of_faults_is_that_of_the_tests() -> None:
    assert reliability.PAGE.read_text(encoding="utf-8") == reliability.page(), "run `python -m tests.reliability`"


def test_the_table_of_members_is_up_to_date() -> None:
    assert catalogue.PAGE.read_text(encoding="utf-8") == catalogue.page(), "run `python -m tests.catalogue`"
