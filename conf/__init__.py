"""Holds YAML only: one folder per swappable part, and whole runs in `experiment/`. Composed by `evo/compose.py`."""
