"""The section of the page in which lives are looked at, step by step.

Owns what is embedded of each life, and the frame that replay.js fills and steps through. Does not own which lives there
are (evo/replays.py). Texts of a run stay text: those in the frame are escaped, those in the data can end no element,
and the page's policy (page.py) lets no script run but the one below.
"""

import json
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fitness.gallery import Gallery
from fitness.records import Replay

SCRIPT = Path(__file__).with_name("replay.js").read_text(encoding="utf-8")
"""The only script of a page."""
MAX_MOMENTS = 400
"""Of a life, its last ones; all are in replays.parquet."""
MAX_CHARACTERS = 1_000_000
"""Of all lives together; what does not fit is left out."""

_NOTE = (
    "Lives in held-out worlds, lived once more with the same choices. <em>Typical</em> is the one of median length. "
    "Keys: <kbd>&larr;</kbd> <kbd>&rarr;</kbd> step, <kbd>space</kbd> plays, <kbd>Home</kbd> and <kbd>End</kbd> jump."
)
_BUTTONS = (
    ("first", "&laquo;", "first step"),
    ("back", "&lsaquo;", "one step back"),
    ("play", "Play", ""),
    ("next", "&rsaquo;", "one step on"),
    ("last", "&raquo;", "last step"),
)


def show_lives(gallery: Gallery, strategies: Mapping[int, str]) -> str:
    """Return the section's body with its data and its script; empty if no life fits.

    Args:
        gallery: lives and names.
        strategies: of genomes, by id.
    """
    written = [_written(_life(one, strategies)) for one in gallery.lives]
    kept: list[int] = []
    for place, text in enumerate(written):
        if len(text) + sum(len(written[other]) for other in kept) <= MAX_CHARACTERS:
            kept.append(place)
    if not kept:
        return ""
    names = {
        "actions": gallery.actions,
        "vitals": gallery.vitals,
        "signs": [[sign.mark, sign.name, sign.colour] for sign in gallery.signs],
    }
    data = f'{_written(names)[:-1]}, "lives": [{", ".join(written[place] for place in kept)}]}}'
    missing = len(written) - len(kept)
    more = f" {missing} more, too long for a page, are in replays.parquet." if missing else ""
    return (
        f'<p class="muted">{_NOTE}{more}</p>\n<noscript><p class="notice">Stepping needs a browser that runs scripts; '
        f"all steps are in replays.parquet.</p></noscript>\n{_frame(gallery, kept)}\n"
        f'<script type="application/json" id="replay-data">{data}</script>\n<script>{SCRIPT}</script>'
    )


def _written(data: dict[str, Any]) -> str:
    """Return JSON in which no text can end the element that it stands in."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _life(one: Replay, strategies: Mapping[int, str]) -> dict[str, Any]:
    """Return what replay.js needs of a life."""
    count = len(one.action)
    first = max(0, count + 1 - MAX_MOMENTS)
    end = f"died ({one.cause})" if one.end == "died" else one.end
    cut = f", of which the last {count - first} are here" if first else ""
    vitals = np.nan_to_num(one.vitals).round(3).tolist()
    chances = [*np.nan_to_num(one.probabilities).round(3).tolist(), []]
    maps = _changes(one.picture[first:])
    return {
        "facts": f"Genome {one.agent} in world {one.seed}: {count:,} decisions{cut}, {end}",
        "strategy": strategies.get(one.agent, ""),
        "end": end,
        "first": first,
        "moments": [
            [one.observation[i], int(one.action[i]) if i < count else -1, chances[i], vitals[i], maps[i - first]]
            for i in range(first, count + 1)
        ],
    }


def _changes(maps: tuple[str, ...]) -> list[str | list[int | str]]:
    """Return the first map, and of each other one what has changed: place, mark, place, mark and so on."""
    told: list[str | list[int | str]] = [maps[0]]
    for before, after in pairwise(maps):
        if len(before) != len(after):
            told.append(after)
            continue
        pairs = enumerate(zip(before, after, strict=True))
        told.append([part for place, (old, new) in pairs if old != new for part in (place, new)])
    return told


def _frame(gallery: Gallery, kept: list[int]) -> str:
    titles = "".join(
        f'<option value="{i}">{escape(gallery.lives[place].title)}</option>' for i, place in enumerate(kept)
    )
    buttons = "".join(
        f'<button type="button" id="replay-{name}"{f" aria-label={label!r}" if label else ""}>{sign}</button>'
        for name, sign, label in _BUTTONS
    )
    return f"""<div id="replay" role="group" aria-label="Replay of a life" tabindex="0" hidden>
<p class="pick"><label for="replay-life">Life</label> <select id="replay-life">{titles}</select></p>
<p class="muted" id="replay-facts"></p>
<div class="steps">{buttons}<input type="range" id="replay-step" min="0" value="0" aria-label="Step">
<output id="replay-where" for="replay-step" aria-live="polite"></output></div>
<div class="grid">{_map(gallery) if gallery.signs else ""}
<div class="stack"><figure><h3>What it was told</h3><p class="told muted" id="replay-strategy"></p>
<p class="told" id="replay-read"></p><h3>Chances of what it does</h3>{_bars("chances", "action", "chance")}</figure>
<figure><h3>Vitals</h3>{_bars("vitals", "vital", "level")}
<svg id="replay-chart" role="img" aria-label="Vitals over the whole life" viewBox="0 0 1000 200"
 preserveAspectRatio="none"></svg><figcaption>Over the whole life; 0 is deadly.</figcaption></figure></div>
</div></div>"""


def _map(gallery: Gallery) -> str:
    signs = "".join(
        f'<li><span class="cell shade-{sign.colour}">{escape(sign.mark)}</span> {escape(sign.name)}</li>'
        for sign in gallery.signs
    )
    return f'<figure><h3>Map</h3><div id="replay-map" role="img"></div><ul class="signs">{signs}</ul></figure>'


def _bars(name: str, what: str, value: str) -> str:
    heads = f'<th scope="col">{what}</th><td></td><th scope="col">{value}</th>'
    return f'<table class="bars" id="replay-{name}"><thead><tr>{heads}</tr></thead><tbody></tbody></table>'
