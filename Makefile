# Everything starts here. `make` alone lists what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test lint types unit services docs faults bench bench-growth bench-hour locks protos load clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

run: $(VENV)/.run ## start everything in one process and run one agent task
	@$(BIN)/ops-core up --demo

test: $(VENV)/.test ## everything the tests need, then all of them
	@scripts/ensure-rabbitmq
	@scripts/ensure-libfaketime
	@scripts/ensure-bubblewrap
	@$(BIN)/tox run

lint types unit services docs: $(VENV)/.test ## one part of the tests
	@$(BIN)/tox run -e $@

faults: $(VENV)/.test ## the fault suite in its full size: hours; goes on where it was broken off
	@scripts/ensure-rabbitmq
	@scripts/ensure-libfaketime
	@$(BIN)/tox run -e faults -- $(FAULTS)

bench: $(VENV)/.test ## side by side with other queues: hours, or BENCH=--quick; goes on where it was broken off
	@scripts/ensure-rabbitmq
	@$(BIN)/tox run -e bench -- $(BENCH)

bench-growth: $(VENV)/.test ## rates beside millions of finished tasks: hours and 33 GB of disk, or BENCH=--quick
	@scripts/ensure-rabbitmq
	@$(BIN)/tox run -e bench -- --works growth-1m growth-10m --systems ours-inprocess --rounds 1 $(BENCH)

bench-hour: $(VENV)/.test ## an hour at half load: memory, waits, tables; BENCH_HOUR_SECONDS makes it shorter
	@scripts/ensure-rabbitmq
	@$(BIN)/tox run -e bench -x testenv:bench.pass_env+=BENCH_HOUR_SECONDS -- \
		--works idle --systems ours-rest --rounds 1 $(BENCH)

locks: $(VENV)/.test ## resolve the newest dependencies into locks/
	@scripts/lock $(BIN)/uv

protos: ## generate the gRPC code from protos/
	@scripts/generate-protos $(PYTHON)

clean: ## remove what was built; keeps your data in .ops-core/
	rm -rf $(VENV) .tox dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# The stamps make a second `make run` start at once, and a changed lock file install again.
$(VENV)/.uv: locks/tools.txt
	@scripts/check-python $(PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/tools.txt
	@touch $@

$(VENV)/.run: $(VENV)/.uv locks/run.txt pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r locks/run.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@touch $@
