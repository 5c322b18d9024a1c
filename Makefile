# Everything that people and CI do here, by name. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help env demo demo-sweep reproduce test test-slow test-faults test-browser docs lint format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

env: .venv/ready ## Make .venv with everything needed

.venv/ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

.venv/browser: .venv/ready
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[dev,demo,browser]'
	@touch $@

.venv/docs: .venv/ready
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[dev,docs]'
	@touch $@

demo: env ## Train a MAC, then DACT from it, on data made here
	$(BIN)/python run.py model=dact ponder=5e-3

demo-sweep: env ## DACT at four ponder costs, from the same MAC
	$(BIN)/python run.py -m model=dact ponder=0,1e-3,5e-3,5e-2

reproduce: env ## Check the claims of the paper; about three hours, and writes docs/results.md
	$(BIN)/python scripts/reproduce.py --size small --output docs/results.md

test: env ## The default tests
	$(BIN)/python -m pytest -n 2 -m 'not slow and not faults and not browser'

test-slow: env ## The tests that take longer
	$(BIN)/python -m pytest -n 2 -m 'slow and not faults'

test-faults: env ## Bad input and broken machines, and a table of what happened
	$(BIN)/python -m pytest -n 2 -m faults

test-browser: .venv/browser ## The pages in Chromium, which must be installed
	$(BIN)/python -m pytest -n 2 -m browser

docs: .venv/docs ## Build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: env ## Style, spelling and large files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	@! git ls-files -z | xargs -0 du -k 2>/dev/null | awk '$$1 > 200 && $$2 != "requirements.lock"' | grep .

format: env ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## Remove logs and the generated clevr_mini
	rm -rf logs data/clevr_mini data/.clevr_mini*
