# `make demo` and `make test` need only Python >= 3.11 and make: each installs what it needs into
# .venv and then does its work.  A stamp file marks each installation, so that a second run is quick.

PYTHON ?= python3
PORT ?= 5006
ARGS ?=
# Extras of pyproject.toml.  None: NumPy computes, and the Lab is off.
EXTRAS ?= lab
PYTEST_ARGS ?=
TAG ?=
BENCH ?=

# Wherever it is set, every server and command that the tests start compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

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

# One worker more than cores, since tests often wait; those in a browser run apart from the others:
# Playwright leaves an event loop in its worker.  A worker without work takes some of another's.  A
# test in a browser gets a second try, which the summary names: its processes share these cores.  They
# are all in tests/page: to read the other files too would cost each worker seconds.  PYTEST_ARGS may
# select no test for one of the two: pytest's exit code 5.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
pytest = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(1) $(PYTEST_ARGS) || [ $$? = 5 ]

.PHONY: help demo test test-all bench performance notebooks dist releasable lint clean chromium
.DEFAULT_GOAL := help

help: ## this list
	@echo "make TARGET, where TARGET is"
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'
	@echo "Variables: PYTHON=python3.13  PORT=5007  ARGS='--streams 8'  EXTRAS=  PYTEST_ARGS='-k port'  BENCH=numerics"

demo: .venv/.demo-$(EXTRAS) ## serve the page on http://localhost:5006 (EXTRAS= for NumPy only; PORT; ARGS: see mhc-demo serve --help)
	$(BIN)/mhc-demo serve --port $(PORT) $(SHOW) $(ARGS)

test: lint chromium ## lint, types and all tests, those of the page in a real browser (PYTEST_ARGS)
	$(call pytest,-m "not browser" --ignore=tests/page)
	$(call pytest,-m browser --reruns 1 -raR --ignore-glob='tests/[!p]*')

test-all: ## before a release: also the long tests, such as every view in both themes and attacks on the server
test-all: override PYTEST_ARGS += --long
test-all: test

lint: .venv/.dev ## ruff, mypy, and the directions of the imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: chromium ## measure speed and memory, into benchmarks/results (BENCH: some sections, such as numerics)
	$(BIN)/python -m benchmarks $(BENCH)

performance: .venv/.dev ## write docs/performance.md from benchmarks/results
	$(BIN)/python -m benchmarks --write

notebooks: chromium ## run the notebooks, and store their outputs in them
	$(BIN)/python notebooks/run.py

dist: .venv/.made ## build wheel and sdist into dist, and check what a registry would refuse
	$(PIP_INSTALL) -e '.[release]'
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

releasable: ## whether TAG, such as v0.1.0, can be released: it is the version, and the changelog knows it
	@[ "$(TAG)" = "v$$(sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)" ] || \
	  { echo "TAG=$(TAG) is not v and the version in pyproject.toml" >&2; exit 1; }
	@grep -q '^## \[$(TAG:v%=%)\]' CHANGELOG.md || \
	  { echo "CHANGELOG.md has no section [$(TAG:v%=%)]" >&2; exit 1; }

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

# A stamp for each choice of EXTRAS.
.venv/.demo-$(EXTRAS): .venv/.made pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.$(if $(EXTRAS),[$(EXTRAS)])'
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ .venv/.demo- .venv/.demo-lab

# Looked for every time: a browser can be uninstalled.  One that cannot have a window does the same
# tests with a fifth less of the processor.
chromium: .venv/.dev
	@command -v chromium-headless-shell || \
	  command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  test -e .venv/.chromium || \
	  { $(apt-install) chromium-headless-shell fonts-dejavu-core; } || \
	  { $(apt-install) chromium fonts-dejavu-core; } || \
	  { $(BIN)/playwright install chromium && touch .venv/.chromium; } || \
	  { echo "The tests need a Chromium: install chromium or google-chrome, then run make test again" >&2; exit 1; }
