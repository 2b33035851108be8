# `make run` needs Python 3.11 to 3.14 and nothing else.

PYTHON ?= python3
VENV ?= .venv
# What to give to the program: make run ARGS="--port 8008", make test ARGS="-k typing", make bench ARGS="--quick"
ARGS ?=
# Test processes at a time.
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
export VENV

.PHONY: help run test test-long test-deps check bench zipapp lock clean

help:
	@echo "make run       start a homeserver on http://127.0.0.1:6167 (data in ~/.local/share/conduit)"
	@echo "make test      run the tests; test-long runs them at full depth"
	@echo "make check     form, types, floors, sizes, documents"
	@echo "make bench     measure against Synapse on this machine"
	@echo "make zipapp    pack everything into dist/conduit.pyz"
	@echo "make lock      pin the newest versions of what is needed"
	@echo "make clean     remove what these have made, except for the data"

run: $(VENV)/.installed-run
	@exec $(BIN)/conduit $(ARGS)

test: test-deps
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

test-long: test-deps
	TEST_DEPTH=full $(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

test-deps: $(VENV)/.installed-dev
	@scripts/test-deps

check: $(VENV)/.installed-dev
	@scripts/check

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benches $(ARGS)

zipapp: $(VENV)/.installed-run
	@scripts/zipapp

lock: $(VENV)/.installed-dev
	$(PIP) install uv
	scripts/lock --upgrade

clean:
	rm -rf $(VENV) .venv-synapse build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info tests/clients/js/node_modules

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
		echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); wanted is Python 3.11 to 3.14: make run PYTHON=python3.12"; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: no virtual environment: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(VENV)/.installed-run: requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the server needs"
	@$(PIP) install --require-hashes --requirement requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed-run | $(BIN)/python
	@echo "Installing what tests and checks need"
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@
