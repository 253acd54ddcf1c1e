"""The table of members in docs/operators.md, made from the configurations and from the docstrings of what they name.

`python -m tests.catalogue` writes it; a test fails while it is out of date.
"""

import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.pages import renewed

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operators.md"
BEGIN, END = "<!-- members: written by `python -m tests.catalogue` -->", "<!-- end -->"
GROUPS = {
    "algorithm": "Algorithms",
    "selection": "Selection",
    "variation": "Variation: the whole, and strategies",
    "variation/adapter_crossover": "Crossover of adapters",
    "variation/adapter_mutation": "Mutation of adapters",
    "reflection": "Reflection: strategies rewritten in view of deaths",
    "finetune": "Fine-tuning",
    "screening": "Screening: which of the newborn live",
    "racing": "Racing: how many worlds a genome lives in",
}
_LINK = re.compile(r"https?://[^\s)>,;`]+")
_NAMES = re.compile(r"\(([^()]*?\b[12]\d{3})\b[^()]*\)")
_DEAP = re.compile(r"`(sel\w+)`")


def tables() -> str:
    """Return one table for each family, as Markdown."""
    lines = []
    for group, title in GROUPS.items():
        lines += [f"### {title}", "", "| config | member | what it does | source |", "|---|---|---|---|"]
        lines += list(dict.fromkeys(_rows(group)))
        lines.append("")
    return "\n".join(lines).rstrip()


def _rows(group: str) -> Iterator[str]:
    """Yield a line for every component that a configuration of the group names; of several, the default's first."""
    told: set[str] = set()
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"), key=lambda path: (path.stem != "default", path.stem)):
        nodes = list(_nodes(yaml.safe_load(path.read_text(encoding="utf-8"))))
        for node in nodes if group == "variation" else nodes[:1]:
            target = node["_target_"] + str(sorted(node.items()) if group != "variation" else "")
            if target not in told:
                told.add(target)
                member = pkgutil.resolve_name(node["_target_"])
                name, what = f"{group}={path.stem}", (inspect.getdoc(member) or "").split("\n\n")[0]
                what = " ".join(_LINK.sub("", what).split()).replace(" ()", "").replace("|", "\\|")
                what = re.sub(r",? *\)", ")", re.sub(r"\([^()]*, *\)", _bare, what))
                if group != "variation":
                    what = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").replace("|", "\\|")
                yield f"| `{name}` | `{member.__name__}` | {what} | {_sources(member)} |"


def _bare(found: re.Match[str]) -> str:
    """Return what stands in brackets without the comma that a link left behind."""
    return found.group().rstrip(") ,") + ")"


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every part of a configuration that names a component, the outer before the inner."""
    if isinstance(tree, dict):
        if tree.get("_target_"):
            yield tree
        tree = list(tree.values())
    for value in tree if isinstance(tree, list) else ():
        yield from _nodes(value)


def _sources(member: Any) -> str:
    """Return where a method comes from: the links of its class, else of its module, and DEAP's function."""
    own, module = inspect.getdoc(member) or "", inspect.getdoc(inspect.getmodule(member)) or ""
    links = dict.fromkeys(link.rstrip(".") for link in _LINK.findall(own) or _LINK.findall(module))
    found = [f"[{_short(link)}]({link})" for link in links] + [f"DEAP `{name}`" for name in _DEAP.findall(own)]
    return ", ".join(dict.fromkeys(found or _NAMES.findall(own))) or "ours"


def _short(link: str) -> str:
    """Return a link as it is read: an arXiv number, a DOI, or the site."""
    return re.sub(r"^https?://(arxiv\.org/abs/|doi\.org/|www\.)?", "", link)


def page() -> str:
    """Return docs/operators.md with the tables as they should be."""
    return renewed(PAGE, BEGIN, END, tables())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
