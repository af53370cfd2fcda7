# Ostinato. `make` lists what there is.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
CONFIG ?= configs/synthetic.yaml
USER_ID ?= u00001
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
CLUSTER := cluster-up cluster-down e2e-cluster
.PHONY: $(CLUSTER) help setup run recommend status stop doctor compile test test-slow check format bench lock clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Set up the environment from the lock (the other targets do it by themselves)

run: $(VENV)/.installed ## Run the whole pipeline: make run [CONFIG=configs/movielens-small.yaml]
	@$(BIN)/ostinato run --config $(CONFIG)

recommend: $(VENV)/.installed ## Ask the served endpoint: make recommend USER_ID=u00042
	@$(BIN)/ostinato recommend $(USER_ID) --config $(CONFIG)

status: $(VENV)/.installed ## Show what is served, how fresh the features are, and the last runs
	@$(BIN)/ostinato status --config $(CONFIG)

stop: $(VENV)/.installed ## Stop the endpoint
	@$(BIN)/ostinato stop --config $(CONFIG)

doctor: $(VENV)/.installed ## Check this machine
	@$(BIN)/ostinato doctor --config $(CONFIG)

compile: $(VENV)/.installed ## Compile the pipelines to pipelines/compiled
	@$(BIN)/ostinato compile

test: $(VENV)/.tested ## Run the tests (twelve minutes on two cores)
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-slow: $(VENV)/.tested ## Run the tests that take minutes of CPU each
	$(BIN)/pytest -m slow --timeout 3000 $(PYTEST_ARGS)

check: $(VENV)/.tested ## Lint, format, types, and the committed pipeline YAML
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/ostinato compile --check

format: $(VENV)/.tested ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.tested ## Measure; the figures in docs/benchmarks.md come from here
	$(BIN)/pytest -m benchmark --timeout 3000 -s tests/benchmarks $(PYTEST_ARGS)

cluster-up: ## A developer's cluster on kind, with all that the pipeline needs (Docker, kind, helm)
	infra/kind/cluster.sh up

cluster-down: ## Take that cluster away
	infra/kind/cluster.sh down

e2e-cluster: $(VENV)/.installed ## Run the pipeline on that cluster and check its canary
	infra/kind/cluster.sh e2e

lock: $(VENV)/.tested ## Resolve the dependencies again
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --quiet \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
	  --output-file requirements.lock

clean: ## Remove the environment and all state
	rm -rf $(VENV) .ostinato

# torch comes first and by pip: where a machine carries a CPU build pip finds it, and uv keeps what
# is installed. Elsewhere this takes the registry's build.
$(VENV)/.base: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock uv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock torch==2.13.0
	@touch $@

$(VENV)/.installed: $(VENV)/.base pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[all]'
	@touch $@

$(VENV)/.tested: $(VENV)/.base pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.[dev]'
	@touch $@ $(VENV)/.installed
