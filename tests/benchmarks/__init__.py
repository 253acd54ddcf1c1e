"""How fast Forager is, beside its peers: `python -m tests.benchmarks`, or `make bench`; not collected by pytest."""
