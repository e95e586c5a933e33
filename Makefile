# `make demo` and `make test` need Python 3.11 to 3.13, make and a package index; `make test` as root installs the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test crash mutations check test-all format constraints clean system-packages

in_range := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(in_range)' >/dev/null 2>&1 && { echo $$p; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# Three workers on two cores: most tests wait for processes, not for a core.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --session-timeout=870

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## a fleet of simulated boards, from a trained model to a halted rollout (KEEP=1 leaves it running)
	@$(BIN)/python demo/demo.py

test: system-packages $(INSTALLED) ## the tests, without test beds (under 15 minutes)
	$(PYTEST) -m "not bed"

crash: $(INSTALLED) ## every crash point of the update process; prints how many there are, and what they broke
	$(BIN)/python -m tests.crash

mutations: $(INSTALLED) ## safeguards taken away one by one, and the test that must notice each
	$(BIN)/python -m tests.mutations

check: $(INSTALLED) ## format, lint, import fence, types, bare wheel (under 90 s)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 agent
	$(BIN)/python -m pytest -q tests/house/test_bare_wheel.py

test-all: check system-packages ## everything, test beds too; what is real must be there
	$(PYTEST) --session-timeout=6600 --require-real
	$(BIN)/python -m tests.fuzz --inputs 1000000

format: $(INSTALLED) ## write the code as `make check` wants it
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

clean: ## everything that was made here
	rm -rf .venv dist build agent/dist demo/out .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------------

$(INSTALLED): pyproject.toml agent/pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "edge needs Python 3.11, 3.12 or 3.13: install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c '$(in_range)' || { echo "edge needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$("$(PYTHON)" -V 2>&1)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		package=$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
			echo "$(PYTHON) can't make virtual environments: sudo apt-get install $$package" >&2; exit 1; }; \
		echo "installing $$package"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$package >/dev/null; }
	@$(BIN)/python -c 'import pip; $(in_range)' 2>/dev/null || { rm -rf $(VENV); "$(PYTHON)" -m venv $(VENV); }
	@echo "installing into $(VENV): the first time takes some minutes and 2 GB"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable './agent[serve,link,update]' --editable '.[all,dev]'
	@touch $@

system-packages:
	@missing=$$(sed 's/#.*//' tests/system-packages.txt | while read -r program package; do \
		[ -z "$$program" ] || PATH="$$PATH:/usr/sbin:/sbin" command -v "$$program" >/dev/null || echo "$$package"; done); \
	[ -n "$$missing" ] || exit 0; \
	[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
		echo "the tests need these programs; install them first:" $$missing >&2; exit 1; }; \
	echo "installing" $$missing; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

# Names and versions only: whoever installs says where from.
constraints: $(INSTALLED) ## resolve all dependencies anew into constraints.txt
	{ echo "# Versions that resolve together on Python 3.11 to 3.13 (make constraints writes this file)."; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
		--no-emit-package edge-toolkit --no-emit-package edge-agent pyproject.toml agent/pyproject.toml; \
	} > constraints.new && mv constraints.new constraints.txt
