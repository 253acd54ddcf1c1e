"""How fast Forager is on one core: `python -m tests.benchmarks`, or `make bench`; not collected by pytest."""
