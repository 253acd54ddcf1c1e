"""The style sheet of the page: one set of names, two sets of colours.

Owns every colour of a report; figures use the names of the variables. To add a colour of a curve, add a `--series-N` to
both sets and to `SERIES` in figures.py.
"""

COLOURS = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f6f8fa; --ink: #1f2328; --muted: #59636e; --grid: #d1d9e0; --mark: #fff1c2;
  --series-1: #1f6fb5; --series-2: #c2570c; --series-3: #2d7d3a; --series-4: #7c4dcc;
  --series-5: #c4314b; --series-6: #9a6700; --series-7: #0f7f7a; --series-8: #b8408a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d1117; --card: #161b22; --ink: #e6edf3; --muted: #9aa4af; --grid: #30363d; --mark: #4b3b0c;
    --series-1: #6cb2ff; --series-2: #ff9a4d; --series-3: #56c468; --series-4: #c09bff;
    --series-5: #ff7b8a; --series-6: #d9a520; --series-7: #45cfc5; --series-8: #f58ac6;
  }
}
"""

STYLE = (
    COLOURS
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
section > figure { max-width: 44rem; }
figure h3 { font-size: 1rem; margin: 0 0 0.4rem; }
figcaption { font-size: 0.875rem; }
svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 1.2rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { min-width: 20rem; }
tr.main td { font-weight: 700; }
ol.line { list-style: none; margin: 0; padding: 0 0 0 1rem; border-left: 2px solid var(--grid); }
ol.line li { margin: 0 0 0.8rem; }
mark { background: var(--mark); color: inherit; padding: 0 0.15em; border-radius: 3px; }
details { margin: 0.75rem 0; }
summary { cursor: pointer; }
pre { overflow-x: auto; background: var(--card); padding: 1rem; border-radius: 8px; font-size: 0.85rem; }
code { font-size: 0.9em; }
"""
)
