"""What others can train on: a run's lives and its best adapter, in other tools' formats.

`lives.py` chooses decisions and preferences from the telemetry, `texts.py` turns them into rows of text that tokenise
to what was acted on, `trl.py` writes the folder and `script.py` holds the texts that go with it. The way back is
`adapter.start` (`evo/start.py`). To add a format: a file with a function like `export_trl`, and its name in `FORMATS`
of `evo/cli.py`.
"""
