"""Puts a run's report together: one page that needs nothing outside itself.

Owns what stands where, and the words. Every text that comes from the run is escaped here. Does not own the figures
(figures.py), the parts of pages (parts.py) or the colours (style.py). To add a section, write a function from
`RunFolder` to HTML (empty if there is nothing to show) and name it in `_SECTIONS`.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from evo.records import GenerationRecord, GenomeRow, HeldOut
from evo.report import figures
from evo.report.ancestry import Ancestor, rank, trace
from evo.report.bands import spread
from evo.report.lives import SCRIPT, show_lives
from evo.report.parts import details as _details
from evo.report.parts import document
from evo.report.parts import figure as _figure
from evo.report.parts import grid as _grid
from evo.report.parts import number as _number
from evo.report.parts import section as _section
from evo.report.parts import table as _table
from evo.report.reading import RunFolder, read_run
from evo.report.tree import plant
from evo.report.words import clauses, judge
from fitness.files import write_text_atomically

TOP_GENOMES = 10
"""Rows of the table of the best genomes."""
TOP_WORDS = 4
"""Clauses that won, and as many that lost."""
MAX_STEPS = 24
"""Steps of the best genome's line that are shown open; the middle of a longer one is folded away."""
MAX_ROWS = 200
"""Rows of the table of generations; all of them are in generations.parquet."""


def write_report(run_folder: Path) -> Path:
    """Write report.html from the other files of a run's folder and return its path.

    A run that was cut off gets a page too, with what there is.

    Raises:
        OutputError: The folder is not one of a run, a file in it cannot be read, or the page cannot be written.
    """
    path = run_folder / "report.html"
    write_text_atomically(path, render(read_run(run_folder)))
    return path


def render(run: RunFolder) -> str:
    """Return the page as HTML text."""
    body = "\n".join(section(run) for section in _SECTIONS)
    return document(run.name, body, script=SCRIPT)


def _show_head(run: RunFolder) -> str:
    facts = []
    if run.summary is not None:
        facts += [f"environment {escape(run.summary.environment)}", f"seed {run.summary.seed}"]
    if run.generations:
        last = run.generations[-1]
        facts += [f"{len(run.generations)} of {last.generations} generations", f"{last.genomes} genomes each"]
        facts += [f"{last.decisions:,} decisions"]
    if run.seconds is not None:
        facts += [f"{run.seconds.wall:,.0f} seconds"]
    return f'<h1>{escape(run.name)}</h1>\n<p class="facts">{" &middot; ".join(facts)}</p>{_show_state(run)}'


def _show_state(run: RunFolder) -> str:
    if run.summary is not None:
        return ""
    told = "Nothing is known of its generations yet." if not run.generations else "This page shows what there is."
    return f'\n<p class="notice">This run has not come to its end: there are no held-out results. {told}</p>'


def _show_heldout(run: RunFolder) -> str:
    if run.summary is None:
        return ""
    rows = [_heldout_row(name, result) for name, result in run.summary.heldout]
    heads = ["policy", "score", "95% interval", "mean lifespan", "episodes"]
    table = _table(heads, rows, numeric=range(1, 5), main=lambda cells: cells[0] == "evolved")
    note = (
        "Episodes on seeds that neither selected nor trained. Score = (mean lifespan - random) / (expert - random). "
        "<em>Frozen</em> is generation 0 as it was born."
    )
    parts = _table(heads, [_heldout_row(name, result) for name, result in run.summary.split], numeric=range(1, 5))
    told = (
        "The best genome's prompt on the model as it is, a prompt that nobody chose on its weights, both and neither:"
    )
    split = f'\n<p class="muted">{told}</p>\n{parts}' if run.summary.split else ""
    drawing = _figure("Score and interval", figures.draw_heldout(run.summary.heldout), "")
    return _section("Held-out result", f'<p class="muted">{note}</p>\n{_grid([table, drawing])}{split}')


def _heldout_row(name: str, result: HeldOut) -> list[str]:
    low, high = (_number(end, 3) for end in result.ci)
    return [name, _number(result.score, 3), f"{low} to {high}", _number(result.lifespan, 1), f"{result.episodes:,}"]


def _show_population(run: RunFolder) -> str:
    records = run.generations
    if not records:
        return ""
    scores = figures.draw_scores(records, spread((row.generation, row.score) for row in run.genomes))
    told = "On the seeds that select; optimistic for the best. Bands: members, over all their worlds so far."
    parts = [
        _figure("Score", scores, told),
        _figure(
            "Lifespan",
            figures.draw_lifespans(records, run.lifespans),
            "Mean decisions lived, of the best genome and of all. Bands: single lives.",
        ),
        _figure("How lives ended", figures.draw_deaths(records), "Share of each generation's episodes."),
        _figure(
            "Diversity",
            figures.draw_diversity(records),
            "0 means that all genomes are the same; 1 founder, that all survivors descend from one.",
        ),
    ]
    return _section("Population", _grid(parts))


def _show_finetuning(run: RunFolder) -> str:
    records = run.generations
    if not records:
        return ""
    parts = [_figure("Time", figures.draw_seconds(records), "")]
    accepted, refused = sum(r.accepted for r in records), sum(r.refused for r in records)
    if any(math.isfinite(record.loss) for record in records):
        told = Counter[str]()
        for record in records:
            told.update(dict(record.refusals))
        why = ", ".join(f"{count:,} {reason}" for reason, count in told.items() if count)
        note = f"{accepted:,} tuned adapters were kept and {refused:,} refused, so that the parent stayed"
        note += f" ({why})." if why else "."
        parts.insert(0, _figure("Fine-tuning of the elites", figures.draw_finetuning(records), note))
        return _section("Fine-tuning and time", _grid(parts))
    return _section("Time", '<p class="muted">This run did not fine-tune.</p>' + _grid(parts))


def _show_lineage(run: RunFolder) -> str:
    ranked = rank(run.genomes)
    if not ranked:
        return ""
    line = trace(run.genomes, ranked[0].id)
    note = (
        f"From a founder to genome {ranked[0].id}, the fittest of the last generation, by the parent that most was "
        "taken from. <mark>Marked</mark> clauses are not in the step before."
    )
    bands = spread((row.generation, row.score) for row in run.genomes)
    drawing = _figure("Scores along the line", figures.draw_lineage(bands, line), "Each point: a genome's birth.")
    return _section("How the best one came to be", f'<p class="muted">{note}</p>\n{_line(line)}\n{drawing}')


def _show_tree(run: RunFolder) -> str:
    leaves = plant(run.genomes)
    if not leaves:
        return ""
    births = len({row.id for row in run.genomes})
    told = "Each point: a birth, coloured by the score that the genome came to; each line: from its first parent."
    if len(leaves) < births:
        told += f" {len(leaves):,} of {births:,}: those that the last generation descends from, at most the latest."
    drawing = _figure("Phylogeny", figures.draw_tree(leaves, rank(run.genomes)[0].id), told)
    return _section("Who descends from whom", f'<div class="scroll wide">{drawing}</div>')


def _show_words(run: RunFolder) -> str:
    verdict = judge(run.genomes, TOP_WORDS)
    if not (verdict.won or verdict.lost):
        return ""
    note = (
        "How common a clause was among those whom selection left (solid: they lived on, or have children) and among "
        "all (dashed). Gain: the first share less the second, summed over generations. A clause may also win by luck, "
        "or because it came with a good genome. <em>Contested</em>: generations in which some had it and some had not."
    )
    heads = ["clause", "gain", "at first", "at last", "contested"]
    rows = [
        [
            word.clause,
            f"{word.gain:+.2f}",
            *(f"{100 * word.among_all[end]:.0f}%" for end in (0, -1)),
            str(word.contested),
        ]
        for word in (*verdict.won, *reversed(verdict.lost))
    ]
    drawing = _figure("Won (left) and lost (right)", figures.draw_words(verdict), "")
    table = _table(heads, rows, numeric=range(1, 5))
    return _section("Words that won and lost", f'<p class="muted">{note}</p>\n{_grid([drawing, table])}')


def _show_lives(run: RunFolder) -> str:
    if run.gallery is None:
        return ""
    body = show_lives(run.gallery, {row.id: row.strategy for row in run.genomes})
    return _section("Lives, step by step", body) if body else ""


def _show_genomes(run: RunFolder) -> str:
    ranked = rank(run.genomes)[:TOP_GENOMES]
    if not ranked:
        return ""
    heads = ["genome", "score", "lifespan", "episodes", "operator", "parents", "adapter", "strategy"]
    table = _table(heads, [_genome_cells(row) for row in ranked], numeric=range(4), text=(7,))
    return _section(f"Best {len(ranked)} genomes of generation {ranked[0].generation}", table)


def _show_details(run: RunFolder) -> str:
    parts = []
    if run.generations:
        parts.append(_details("Numbers by generation", _generation_table(run.generations)))
    parts += [
        _details(title, f"<pre>{escape(text)}</pre>")
        for title, text in (("config.yaml", run.config), ("manifest.json", run.manifest))
        if text
    ]
    return _section("Details", "\n".join(parts)) if parts else ""


_SECTIONS: tuple[Callable[[RunFolder], str], ...] = (
    _show_head,
    _show_heldout,
    _show_population,
    _show_words,
    _show_tree,
    _show_lineage,
    _show_lives,
    _show_finetuning,
    _show_genomes,
    _show_details,
)


def _line(line: Sequence[Ancestor]) -> str:
    """Return the steps as a list; the middle of a long line is folded away."""
    before = [None, *line[:-1]]
    steps = [_step(ancestor, parent) for ancestor, parent in zip(line, before, strict=True)]
    if len(steps) <= MAX_STEPS:
        return f'<ol class="line">{"".join(steps)}</ol>'
    half = MAX_STEPS // 2
    folded = steps[half:-half]
    told = f" (the first {MAX_ROWS} are here, all in phylogeny.csv)" if len(folded) > MAX_ROWS else ""
    middle = _details(f"{len(folded)} more steps{told}", f'<ol class="line">{"".join(folded[:MAX_ROWS])}</ol>')
    first, last = ("".join(part) for part in (steps[:half], steps[-half:]))
    return f'<ol class="line">{first}</ol>\n{middle}\n<ol class="line">{last}</ol>'


def _step(ancestor: Ancestor, parent: Ancestor | None) -> str:
    row = ancestor.last
    known = set(clauses(parent.last.strategy)) if parent else None
    text = " ".join(
        escape(clause) if known is None or clause in known else f"<mark>{escape(clause)}</mark>"
        for clause in clauses(row.strategy)
    )
    other = [str(identity) for identity in row.parents[1:]]
    also = f" with {', '.join(other)}" if other else ""
    facts = (
        f"<strong>genome {row.id}</strong> born in generation {ancestor.born}, {escape(row.operator)}{also}, "
        f"score {_number(row.score, 3)} over {row.count:,} episodes"
    )
    return f'<li><span class="muted">{facts}</span><br>{text}</li>\n'


def _genome_cells(row: GenomeRow) -> list[str]:
    lifespan = f"{_number(row.fitness, 1)} \u00b1 {_number(row.standard_error, 1)}"
    parents = ", ".join(str(parent) for parent in row.parents) or "-"
    made = [row.operator, parents, row.adapter[:8], row.strategy]
    return [str(row.id), _number(row.score, 3), lifespan, f"{row.count:,}", *made]


def _generation_table(records: Sequence[GenerationRecord]) -> str:
    heads = ["generation", "best", "median", "mean", "lifespan", "decisions", "kept", "refused", "seconds"]
    rows = [
        [
            str(record.generation),
            *(_number(value, 3) for value in (record.best, record.median, record.mean)),
            _number(record.mean_lifespan, 1),
            f"{record.decisions:,}",
            str(record.accepted),
            str(record.refused),
            _number(record.seconds, 1),
        ]
        for record in records[-MAX_ROWS:]
    ]
    return _table(heads, rows, numeric=range(len(heads)))
