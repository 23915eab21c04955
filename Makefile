# `make test` on a machine with Python 3.11, pip and make is all that anyone needs to know.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCHMARKS := $(basename $(notdir $(sort $(wildcard benchmarks/bench_*.py))))
bench_extract_flags := --memory

.PHONY: help setup check browser test soak fuzz demo bench clean $(BENCHMARKS)
# Two benchmarks at once would measure each other.
.NOTPARALLEL:

help:
	@echo "make test    set up .venv, check the code, run the tests"
	@echo "make demo    run everything that there is on a made-up data set; see runs/demo"
	@echo "make soak    a thousand rounds of two extractions at once, one of them killed (SOAK_ROUNDS)"
	@echo "make check   ruff, formatting, mypy, import-linter"
	@echo "make fuzz    ten thousand broken videos through the decoders; CLIPS=FOLDER breaks real ones too"
	@echo "make bench   run every CPU benchmark and write benchmarks/README.md"
	@echo "make clean   remove .venv and caches"

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --cache-dir .cache/import-linter

# Debian's browser, for the tests of the report; where it cannot be had they are skipped.
browser:
	@command -v chromium >/dev/null || apt-get install --yes --quiet chromium >/dev/null 2>&1 || \
		echo "no chromium: the report's tests in a browser will be skipped"

test: check browser
	$(BIN)/pytest -n 2 --dist loadfile

fuzz: setup
	$(BIN)/python -m tests.test_extract.fuzz $(if $(CLIPS),--clips $(CLIPS))

soak: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak --rounds $(SOAK_ROUNDS)

demo: setup
	$(BIN)/telltale demo --out runs/demo

bench: $(BENCHMARKS)
	$(BIN)/python -m benchmarks.page

$(BENCHMARKS): setup
	$(BIN)/python -m benchmarks.$@ $($@_flags)

clean:
	rm -rf $(VENV) .cache .hypothesis .ruff_cache dist
