# Only make, Python >= 3.11 and its venv module are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data

.DEFAULT_GOAL := help
.PHONY: help up install install-test install-check test check check-deploy bench demo faults lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
	  || grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST)

up: $(VENV)/installed ## install what is missing and run everything in the foreground; Ctrl-C stops
	@exec $(BIN)/percorso up --data "$(DATA)"

install: $(VENV)/installed ## into .venv, so that .venv/bin/percorso works

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Percorso needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing Percorso (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install-test: $(VENV)/installed-test

$(VENV)/installed-test: requirements/test.txt $(VENV)/installed
	@echo "Installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

test: install-test ## every test that fits in CI (no Docker needed; Kafka and a browser are used if they can be had)
	@$(BIN)/python tests/prepare.py
	@$(BIN)/python -m pytest $(ARGS)

check: install-test ## ruff, mypy strict, import-linter, size of the beacon
	@$(BIN)/python tests/check.py

check-deploy: install-test ## compose file and Dockerfile by real tools
	@$(BIN)/python deploy/check.py

bench: install-test ## ratios against the plain reference application, embedded and on Kafka
	@$(BIN)/python -m benchmarks $(ARGS)

demo: $(VENV)/installed ## 200 people walk through the demo shop while `make up` runs
	@$(BIN)/percorso demo --data "$(DATA)" $(ARGS)

faults: install-test ## kill -9 of every process under load (N=20 per mode)
	@N=$(or $(N),20) $(BIN)/python -m pytest -m slow tests/faults $(ARGS)

lock: ## choose the newest allowed versions again and write their hashes
	@$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet uv
	@$(VENV)-lock/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 --universal pyproject.toml requirements/build.in -o requirements/run.txt
	@$(VENV)-lock/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 --universal --extra test --extra check -c requirements/run.txt pyproject.toml requirements/build.in -o requirements/test.txt
	@rm -rf $(VENV)-lock

clean: ## remove what was built; the data folder stays
	@rm -rf $(VENV) artefacts .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache
