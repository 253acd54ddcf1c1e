"""The style sheet of the page: one set of names, two sets of colours.

Owns every colour of a report; figures use the names of the variables. To add a colour of a curve, add a `--series-N` to
both sets and to `SERIES` in figures.py.
"""

from fitness.records import COLOURS

_SHADES = "".join(
    f".shade-{name} {{ color: var(--series-{number});"
    " background: color-mix(in srgb, currentcolor 16%, transparent); }\n"
    for number, name in enumerate(COLOURS[2:], 1)
)
"""Of signs on a map; ink and grey have their own."""

PALETTE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f6f8fa; --ink: #1f2328; --muted: #59636e; --grid: #d1d9e0; --mark: #fff1c2;
  --series-1: #1f6fb5; --series-2: #c2570c; --series-3: #2d7d3a; --series-4: #7c4dcc;
  --series-5: #c4314b; --series-6: #9a6700; --series-7: #0f7f7a; --series-8: #b8408a;
  --heat-1: #2c3a8c; --heat-2: #5b47a8; --heat-3: #8e4a9e; --heat-4: #bf4f7f; --heat-5: #dd6a50; --heat-6: #d98a1c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d1117; --card: #161b22; --ink: #e6edf3; --muted: #9aa4af; --grid: #30363d; --mark: #4b3b0c;
    --series-1: #6cb2ff; --series-2: #ff9a4d; --series-3: #56c468; --series-4: #c09bff;
    --series-5: #ff7b8a; --series-6: #d9a520; --series-7: #45cfc5; --series-8: #f58ac6;
    --heat-1: #5566d6; --heat-2: #8a72dd; --heat-3: #c07acb; --heat-4: #e888a5; --heat-5: #fba072; --heat-6: #ffc24a;
  }
}
"""

STYLE = (
    PALETTE
    + """\
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.75rem; }
p { max-width: 50rem; }
.facts, .muted, figcaption { color: var(--muted); }
.facts { margin: 0.25rem 0 1rem; max-width: none; }
.notice { border-left: 4px solid var(--series-2); background: var(--card); padding: 0.6rem 1rem; }
.grid { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
figure { margin: 0; padding: 0.9rem 1rem; background: var(--card); border-radius: 8px; }
section > figure { max-width: 36rem; }
figure h3 { font-size: 1rem; margin: 0 0 0.4rem; }
figcaption { font-size: 0.875rem; }
svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
.wide svg { min-width: 44rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 1.2rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { min-width: 20rem; }
tr.main td { font-weight: 700; }
ol.line { list-style: none; margin: 0; padding: 0 0 0 1rem; border-left: 2px solid var(--grid); }
ol.line li { margin: 0 0 0.8rem; }
mark { background: var(--mark); color: inherit; padding: 0 0.15em; border-radius: 3px; }
@media (max-width: 32rem) {
  table { font-size: 0.875rem; }
  th, td { padding-right: 0.7rem; }
  .bars th[scope=row] { width: 5rem; }
}
details { margin: 0.75rem 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--card); padding: 1rem; border-radius: 8px; font-size: 0.85rem; }
code { font-size: 0.9em; }
#replay { border-radius: 8px; }
#replay:focus-visible { outline: 2px solid var(--series-1); outline-offset: 6px; }
#replay h3 { font-size: 1rem; margin: 0 0 0.4rem; }
#replay button, #replay select { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--grid);
  border-radius: 6px; min-height: 2.75rem; padding: 0 0.8rem; max-width: 100%; }
#replay button { min-width: 2.75rem; cursor: pointer; }
#replay-play { min-width: 5rem; }
.steps { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; margin: 0 0 1rem; }
.steps input { flex: 1 1 12rem; min-width: 0; accent-color: var(--series-1); }
.steps output { flex: 1 0 100%; font-variant-numeric: tabular-nums; }
.stack { display: grid; gap: 1.25rem; align-content: start; }
.pick { margin: 0 0 0.5rem; }
.told { margin: 0 0 0.8rem; overflow-wrap: anywhere; }
#replay-read { min-height: 4.5em; padding-left: 0.8rem; border-left: 3px solid var(--series-1); }
#replay-map { display: grid; grid-template-columns: repeat(var(--columns), minmax(0.8rem, 1fr)); overflow-x: auto;
  max-width: 26rem; }
.cell { display: inline-grid; place-items: center; font-family: ui-monospace, monospace; line-height: 1; }
#replay-map .cell { aspect-ratio: 1; }
.signs { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.8rem 0 0; padding: 0;
  font-size: 0.875rem; }
.signs .cell { width: 1.3rem; height: 1.3rem; }
.shade-ink { color: var(--page); background: var(--ink); font-weight: 700; border-radius: 3px; }
.shade-grey { color: var(--muted); }
.bars { width: 100%; margin: 0 0 0.8rem; }
.bars th[scope=row] { color: inherit; font-weight: inherit; width: 9rem; }
.bars tr.main th { font-weight: 700; }
.unseen, .bars thead { position: absolute; clip-path: inset(50%); white-space: nowrap; }
.bars td, .bars th { padding: 0.1rem 0.6rem 0.1rem 0; border: 0; vertical-align: middle; }
.fill { display: block; height: 0.7rem; min-width: 1px; border-radius: 3px; background: var(--series-1); }
.bars tr.main .fill { background: var(--series-2); }
.track { width: 60%; }
#replay-chart { height: 7rem; overflow: visible; border-bottom: 1px solid var(--grid); }
#replay-chart polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
#replay-cursor { stroke: var(--ink); stroke-width: 1; vector-effect: non-scaling-stroke; }
.headline { font-size: 1.2rem; max-width: 60rem; }
.headline, .notice, .strips .name, td.text { overflow-wrap: anywhere; }
.whole > figure { max-width: none; }
.notice ul { margin: 0; padding-left: 1.1rem; }
.strips { list-style: none; margin: 0 0 1.25rem; padding: 0; }
.strips li { display: grid; grid-template-columns: minmax(6rem, 13rem) 1fr 10.5rem; align-items: center; gap: 0 1rem; }
.strips .value { font-variant-numeric: tabular-nums; }
.strip { height: 1.6rem; overflow: visible; }
.strip.tall { height: 2.5rem; }
td .strip { min-width: 11rem; }
.strip circle { fill: currentcolor; }
.strip .dot { fill-opacity: 0.5; }
.strip .range { stroke: currentcolor; stroke-width: 4; stroke-opacity: 0.5; stroke-linecap: round; }
.mark { stroke: var(--grid); stroke-width: 1; }
.level { stroke: var(--muted); stroke-width: 1.5; stroke-dasharray: 4 3; }
.axis { height: 1.3rem; overflow: visible; font-size: 0.8125rem; fill: var(--muted); }
.shares { height: 1.25rem; margin: 0.2rem 0; border-radius: 4px; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; margin: 0 0 0.8rem; padding: 0; }
.key span { display: inline-block; width: 0.8rem; height: 0.8rem; border-radius: 3px; margin-right: 0.4rem; }
.crowd { position: absolute; width: 0; height: 0; }
.panels { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)); }
.panels figure { padding: 0.6rem 0.75rem; min-width: 0; }
.panels h3 { font-size: 0.9rem; overflow-wrap: anywhere; }
.panel { position: relative; }
.panel svg { height: 7.5rem; border-bottom: 1px solid var(--muted); }
.panel span { position: absolute; left: 0; font-size: 0.75rem; line-height: 1; color: var(--muted);
  transform: translateY(-105%); }
.panel polyline, .panel use { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke: currentcolor; }
.panel use { color: var(--muted); opacity: 0.35; }
.panel polygon { fill: currentcolor; fill-opacity: 0.22; }
.panel .mark { vector-effect: non-scaling-stroke; }
.crowd polyline { fill: none; stroke: currentcolor; stroke-width: 1; vector-effect: non-scaling-stroke; }
.ends { display: flex; justify-content: space-between; gap: 0.5rem; margin: 0.15rem 0 0; font-size: 0.75rem;
  color: var(--muted); }
a { color: var(--series-1); }
:focus-visible { outline: 2px solid var(--series-1); outline-offset: 2px; }
@media (max-width: 40rem) {
  .strips li { grid-template-columns: 1fr auto; padding: 0.3rem 0; }
  .strips svg { grid-row: 2; grid-column: 1 / -1; }
  .panels { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 0.6rem; }
}
@media (prefers-reduced-motion: no-preference) { .fill { transition: width 0.15s; } }
"""
    + _SHADES
)
