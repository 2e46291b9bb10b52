# The two commands of a newcomer are `make demo` and `make test`; each sets up what it needs first.
# PYTHON=... chooses the Python of the virtual environment, TESTS=... and JOBS=... what pytest runs.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

BIN := .venv/bin
CANDIDATES := python3.13 python3.12 python3.11 python3
JOBS ?= 2
TESTS ?= tests
OUT ?= build/demo

.PHONY: help setup demo test test-all lint docs bench clean

help:  ## Show this list.
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Virtual environment with pinned versions, and tools warmed up.
	@if [ -x $(BIN)/python ] && $(BIN)/python tools/setup.py --check 2>/dev/null; then exit 0; fi; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
	  if "$$python" tools/setup.py --suitable 2>/dev/null; then \
	    exec "$$python" tools/setup.py; \
	  fi; \
	done; \
	echo "hwgen: Python 3.11 or newer with venv and a shared library is needed; tried:" >&2; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
	  echo "  $$python: $$("$$python" tools/setup.py --suitable 2>&1 | tail -n 1)" >&2; \
	done; \
	exit 2

demo: setup  ## The whole way once: train to report, in build/demo/.
	@$(BIN)/hwgen demo --out $(OUT)

test: setup  ## The tests, without the slow ones.
	@$(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) $(TESTS)

test-all: setup  ## The tests, all of them.
	@$(BIN)/python -m pytest -q -n $(JOBS) $(TESTS)

lint: setup  ## Style and types.
	@$(BIN)/ruff check .
	@$(BIN)/python tools/check_types.py

docs: setup  ## The documentation site, in build/site/.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo build/site/index.html

bench: setup  ## The figures of the README.
	@$(BIN)/python -m benchmarks

clean:  ## Remove what was built, but not .venv.
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
