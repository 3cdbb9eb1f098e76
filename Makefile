# The commands of the project. Each makes the environment first if it is missing.
#
#   make PYTHON=python3.12 test      another Python (3.10 to 3.13)
#   make CLOCKWORK_VAR=/some/dir run another place for the local stack's data

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
MARKUP = $(shell find src sandbox examples -name '*.zcml' -o -name '*.xml' -o -name '*.pt')

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# What pip needs is checked before, because its own messages come late and are long.
$(INSTALLED): setup.py pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh sandbox/prerequisites.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Plone and the tools into $(VENV): some minutes, the first time."
	@$(BIN)/pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[test,docs,relstorage]'
	@touch $(INSTALLED)

.PHONY: install
install: $(INSTALLED) ## Make the environment in .venv

.PHONY: run
run: $(INSTALLED) ## Start ZEO, a Plone site and a worker on this machine
	@$(BIN)/python -m sandbox.run

.PHONY: demo
demo: $(INSTALLED) ## Let an Editor queue jobs over HTTP and check what comes of it
	@$(BIN)/python -m sandbox.demo

.PHONY: test
test: $(INSTALLED) ## Run all tests
	@$(BIN)/python -m sandbox.tests $(ARGS)

.PHONY: bench
bench: $(INSTALLED) ## Measure jobs per second and latency, over ZEO
	@$(BIN)/python benchmarks/bench.py

.PHONY: bench-design
bench-design: $(INSTALLED) ## Measure claims with many producers and quotas
	@$(BIN)/python benchmarks/design.py

$(VENV)/.peers: $(INSTALLED)
	@$(BIN)/pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[peers]'
	@touch $@

.PHONY: bench-peers
bench-peers: $(VENV)/.peers ## Measure the same work through Celery and Huey
	@$(BIN)/python benchmarks/peers.py

.PHONY: chaos
chaos: $(INSTALLED) ## Queue thousands of jobs and break what can be broken (SEED=n)
	@$(BIN)/python -m chaos.run $(SEED)
	@$(BIN)/python -m chaos.recovery

ENGINE_TESTS := src/collective/clockwork/tests/engine

.PHONY: model
model: $(INSTALLED) ## Try random courses of events, and faults in all commits (EXAMPLES=n)
	@CLOCKWORK_MODEL_EXAMPLES=$(or $(EXAMPLES),1000) CLOCKWORK_ALL_FAULTS=1 \
		$(BIN)/python -m pytest --timeout=0 $(ENGINE_TESTS)/test_model.py \
		$(ENGINE_TESTS)/test_commit_faults.py $(ENGINE_TESTS)/test_two_databases.py $(ARGS)

.PHONY: lint
lint: $(INSTALLED) ## Check style, markup and the rules of the architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/zpretty --check $(MARKUP)
	@$(BIN)/python -m pytest -q src/collective/clockwork/tests/test_architecture.py

.PHONY: format
format: $(INSTALLED) ## Put style and markup right
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@$(BIN)/zpretty --inplace $(MARKUP)

.PHONY: docs
docs: $(INSTALLED) ## Build the documentation into docs/_build/html
	@$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# Buildout's form of the same versions; Python 3.10's in a section of their own.
versions.cfg: constraints.txt
	@{ echo '# Made from constraints.txt by `make versions.cfg`.'; echo '[versions]'; \
	sed -n -E '/; *python_version *< /d; s/^([A-Za-z][^=]*)==([^; ]+).*/\1 = \2/p' $<; \
	echo; echo '[versions:python_version < "3.11"]'; \
	sed -n -E 's/^([A-Za-z][^=]*)==([^; ]+); *python_version *< .*/\1 = \2/p' $<; \
	} > $@

.PHONY: clean
clean: ## Remove all that was made, but not the local stack's data
	rm -rf $(VENV) build dist docs/_build .pytest_cache .ruff_cache .hypothesis
	rm -rf src/*.egg-info
	find src sandbox benchmarks chaos examples -name __pycache__ -prune -exec rm -rf {} +
