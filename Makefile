# Each target builds .venv itself when it is missing or out of date; nothing else needs installing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := bash
.SHELLFLAGS := -o pipefail -c

# Of what pip says: every tenth package that it collects, and that it installs them all.
SAID := awk '/^Collecting/ && ++n % 10 == 1 {print "  collecting", $$2, "..."; fflush()} \
	/^Installing/ {print "  installing", n, "packages ..."; fflush()}'

.PHONY: quickstart test format lint docs lock release-check clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "sgpo needs Python 3.11 or newer, and $(PYTHON) is not: $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one, as in: make quickstart PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version): torch, transformers, TRL and what they need, in the"
	@echo "versions of constraints.txt. It takes 2 to 3 minutes, and on Linux a download of some gigabytes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[report]' | $(SAID)
	@echo "Installed. For a shell of your own: source $(BIN)/activate"
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@echo "Adding what the tests need: pytest, mypy, ruff, peft and more."
	@$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' | $(SAID)
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/sgpo quickstart

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # build/site/index.html

# requirements.lock anew: the versions of constraints.txt with hashes, for users of uv.
lock: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python tests/resolve_versions.py --lock

# Wheel, sdist, metadata, a clean environment, README's commands; minutes. PYTHON is the interpreter of that environment.
release-check:
	$(PYTHON) tests/release_check.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
