# Every target is described by the line above it; `make help` prints them.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help venv demo test wait-load lint unit format lock clean
.DEFAULT_GOAL := help

# list the targets
help:
	@awk '/^# /{d=substr($$0,3)} /^[a-z-]+:/{split($$1,t,":"); if (d) printf "%-12s %s\n", t[1], d; d=""}' Makefile

# make .venv from requirements.lock, with the command line and the development tools
venv: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Python 3.11, 3.12 or 3.13 with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==$(UV_VERSION)'
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# show the main job: Airflow promotes a build in a lab on this machine
demo: venv
	$(BIN)/python -m lab demo

# run linters, types, layers and all tests
test: venv lint
	$(BIN)/python -m lab prerequisites --tests
	$(BIN)/python -m pytest -n 2 -m 'not airflow and not containers'
	$(BIN)/python -m pytest -m 'airflow or containers'  # alone: they need both cores

# measure what waiting costs: 40 builds of 28 jobs at once; a quarter of an hour
wait-load: venv
	$(BIN)/python -m lab prerequisites
	$(BIN)/python -m benchmarks.wait_load

# run linters, types and layers
lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# run the tests that need no service
unit: venv
	$(BIN)/python -m pytest tests/unit tests/bad_input tests/regression -m 'not lab'

# format the code
format: venv
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# compile the lock files anew from pyproject.toml and lab/requirements-dlrn.in
lock: venv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --python-version 3.11 --custom-compile-command "make lock" pyproject.toml --extra dev -o requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --python-version 3.11 --custom-compile-command "make lock" lab/requirements-dlrn.in -o lab/requirements-dlrn.lock

# remove the environment and everything that the lab left
clean:
	-if [ -x $(BIN)/python ]; then for lab in .lab .lab-demo; do $(BIN)/python -m lab --root $$lab down --purge; done; fi
	rm -rf .venv .lab .lab-demo* .lab-env
