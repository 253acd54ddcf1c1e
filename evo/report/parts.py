"""What pages are made of: the document around them, sections, figures and tables.

Owns the HTML that all pages share, and the policy by which nothing is fetched and no foreign script runs. Plain texts
are escaped here; what is HTML already says so by its type. Does not own what stands on a page (page.py for a run,
comparison_page.py for arms), marks (marks.py) or colours (style.py).
"""

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from evo.report.style import STYLE


class Html(str):
    """A text that is HTML already, and safe: a table's cell of this type is not escaped."""

    __slots__ = ()


def document(title: str, body: str, script: str = "") -> str:
    """Return a whole page that needs nothing outside itself.

    Args:
        title: of the window; plain text.
        body: HTML.
        script: the only one that may run, which is somewhere in `body`; whatever texts it holds, no other can.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"; script-src 'sha256-{digest}'" if script else ""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{scripts}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} - Forager</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Iterable[int] = (),
    text: Iterable[int] = (),
    main: Callable[[Sequence[str]], bool] = lambda _: False,
) -> str:
    """Return a table; `numeric` and `text` name columns of that kind, `main` picks rows to stress."""
    kinds = dict.fromkeys(numeric, ' class="number"') | dict.fromkeys(text, ' class="text"')
    head = "".join(f'<th scope="col"{kinds.get(i, "")}>{escape(name)}</th>' for i, name in enumerate(heads))
    lines = []
    for cells in rows:
        line = "".join(f"<td{kinds.get(i, '')}>{as_html(cell)}</td>" for i, cell in enumerate(cells))
        stress = ' class="main"' if main(cells) else ""
        lines.append(f"<tr{stress}>{line}</tr>")
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def as_html(text: str) -> str:
    """Return a text as HTML, which it may be already."""
    return text if isinstance(text, Html) else escape(text)


def section(title: str, body: str) -> str:
    """Return a part of the page under a heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def figure(title: str, svg: str, caption: str) -> str:
    """Return a picture with a title, and with a caption if there is one."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{escape(title)}</h3>{svg}{below}</figure>"


def grid(parts: Iterable[str]) -> str:
    """Return parts beside each other, as far as there is room."""
    return f'<div class="grid">{"".join(parts)}</div>'


def details(title: str, body: str, *, shown: bool = False) -> str:
    """Return what is folded away until its title is chosen, unless it is `shown` at first."""
    return f"<details{' open' if shown else ''}><summary>{escape(title)}</summary>{body}</details>"


def number(value: float, digits: int) -> str:
    """Return a number, or a dash where there is none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "-"
