"""Reports: what a run's folder shows to someone who was not there.

Reads files of outputs/<run>/ only, never a live run. `reading.py` loads them, `ancestry.py` follows the best genome
back to its founder, `tree.py` lays out who descends from whom, `words.py` counts which clauses won and lost, `bands.py`
and `statistics.py` put bands and intervals on numbers, `figures.py` draws one figure each, `lives.py` and `replay.js`
show lives step by step, `page.py` puts the page together.

To add a figure: write a function from the run's records to SVG text in `figures.py` and name it in a section of
`page.py`. Drawing imports matplotlib inside its functions, so that nothing else pays for it.
"""
