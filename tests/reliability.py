"""The table of faults in docs/reliability.md, made from the tests that plant them.

`python -m tests.reliability` writes it; a test fails while it is out of date. A test enters the table by
`@pytest.mark.fault(what, then)`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.pages import renewed

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: written by `python -m tests.reliability` -->", "<!-- end -->"


def table() -> str:
    """Return the table as Markdown, by test file."""
    lines = ["| fault | what happens | test |", "|---|---|---|"]
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                lines += [f"| {what} | {then} | `{path.stem}.{function.name}` |" for what, then in _faults(function)]
    return "\n".join(lines)


def _faults(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a test's fault marks."""
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
            what, then = (ast.literal_eval(argument) for argument in mark.args)
            yield what, then


def page() -> str:
    """Return docs/reliability.md with the table as it should be."""
    return renewed(PAGE, BEGIN, END, table())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
