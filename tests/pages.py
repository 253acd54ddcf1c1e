"""Pages of docs/ of which a part is written by a command: what stands between two marks."""

from pathlib import Path


def renewed(page: Path, begin: str, end: str, content: str) -> str:
    """Return the text of a page with `content` in place of what stands between its marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.partition(end)[2]}"
