# The two commands of the README, from nothing but Python >= 3.11 and make: each sets up what it
# needs in .venv and then does its work.  A stamp file per step, so that the second time is quick.

PYTHON ?= python3
PORT ?= 5006
ARGS ?=
PYTEST_ARGS ?=
BENCH ?=

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
# A browser window only where there is a screen to show it on.
SHOW := $(if $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname -s))),--show)

# `$(apt-install) PACKAGE ...`: fails where there is no apt-get, or no right to use it.
define apt-install
as_root() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
command -v apt-get >/dev/null && as_root apt-get update && \
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends
endef

# On all cores.  The browser's tests, which look at what is painted, are not held up by the others;
# and Playwright leaves its event loop in a worker.  Of a choice by PYTEST_ARGS one of the two may be empty (pytest's exit code 5).
pytest = $(BIN)/python -m pytest $(1) $(PYTEST_ARGS) || [ $$? = 5 ]

.PHONY: help demo test test-all bench lint clean chromium
.DEFAULT_GOAL := help

help: ## this list
	@echo "make TARGET, where TARGET is"
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'
	@echo "Variables: PYTHON=python3.13  PORT=5007  ARGS='--streams 8'  PYTEST_ARGS='-k port'  BENCH=numerics"

demo: .venv/.demo ## serve the page on http://localhost:5006 (PORT, ARGS: see mhc-demo serve --help)
	$(BIN)/mhc-demo serve --port $(PORT) $(SHOW) $(ARGS)

test: lint chromium ## lint, types, and every test in a real browser (PYTEST_ARGS)
	$(call pytest,-n auto -m "not browser")
	$(call pytest,-n auto -m browser)

test-all: ## the same, with an hour of attacks on the server
test-all: override PYTEST_ARGS += --long
test-all: test

lint: .venv/.dev ## ruff, mypy, and the directions of the imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: chromium ## measure the speed promised (BENCH: one section, such as numerics)
	$(BIN)/python -m benchmarks $(BENCH)

clean: ## remove caches and builds (the environment stays: rm -rf .venv to start over)
	rm -rf build dist test-results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# Debian ships venv without ensurepip, which is in a package of its own.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; point PYTHON at one: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { $(apt-install) "$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; } || \
	  { echo "$(PYTHON) cannot make virtual environments: install python3-venv, then run make again" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: .venv/.made pyproject.toml constraints.txt
	$(PIP_INSTALL) -e .
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ .venv/.demo

# Looked up every time, for a browser may go as it came.
chromium: .venv/.dev
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  test -e .venv/.chromium || \
	  { $(apt-install) chromium fonts-dejavu-core; } || \
	  { $(BIN)/playwright install chromium && touch .venv/.chromium; } || \
	  { echo "The tests need a Chromium: install chromium or google-chrome, then run make test again" >&2; exit 1; }
