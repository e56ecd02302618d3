# Everything a person or CI does here. `make` alone prints the list.

.DEFAULT_GOAL := help
BIN   := .venv/bin
READY := .venv/.ready

# What the shipped dashboards are compiled against, from npm at the versions of its package.json.
GRAFANA := tests/observe/grafana

# A shell may forbid bytecode; then every process compiles everything again, and each timing lies.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup fmt check lint types layers test grafana demo soak bench tools clean

help:    ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with everything needed to work here

fmt: $(READY)  ## Rewrite the code in house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint types layers test  ## Everything CI runs, cheapest first

lint: $(READY)  ## Format and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)  ## mypy, strict, tests included
	$(BIN)/mypy

# Without its cache: that keeps reporting an import as it was resolved before the module existed.
layers: $(READY)  ## Imports run one way, libraries stay behind their fences
	$(BIN)/lint-imports --no-cache

# Three for two cores: a tenth of the time tests wait, for processes, a server, a scrape.
# What only root can install is installed if root asks; otherwise the tests say what is missing.
test: $(READY)  ## Every test but soak and bench
	@if [ "$$(id -u)" -eq 0 ]; then $(MAKE) --no-print-directory tools; fi
	-@$(MAKE) --no-print-directory grafana
	$(BIN)/pytest -n 3 --dist worksteal

grafana: $(GRAFANA)/node_modules/.ready  ## Install Grafana's types, for the test of the dashboards

demo: $(READY)  ## A real pipeline: killed midway, resumed, counted
	$(BIN)/python machines/demo.py

soak: $(READY)  ## Kill, cut and fuzz, for minutes
	$(BIN)/pytest -m soak

bench: $(READY)  ## Measure beside raw SQLite, and print
	$(BIN)/pytest -m bench -s -p no:randomly tests/bench

tools:   ## Install what tests need from Debian: strace, Prometheus, PostgreSQL, npm (as root)
	@missing=; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing=" postgresql"; \
	for need in strace:strace promtool:prometheus "npm:nodejs npm"; do \
	    command -v "$${need%%:*}" >/dev/null || missing="$$missing $${need#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" -ne 0 ]; then \
	    echo "only root can install$$missing. Type: sudo make tools" >&2; exit 1; \
	fi; \
	$(INSTALL_WITHOUT_STARTING)

clean:   ## Remove what make made: .venv, caches, builds; never a store
	rm -rf $(GRAFANA)/node_modules
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* build dist
	find statepipe machines tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted setup is begun again. Bytecode is made here because
# some installers leave none; a package may carry a template that is no Python, hence the `|| true`.
$(READY): pyproject.toml
	@$(MAKE_VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	$(BIN)/python -m compileall -qq -j 0 .venv/lib/python3*/site-packages statepipe || true
	@touch $@

# No lock file: it would name the registry that this machine happens to use.
$(GRAFANA)/node_modules/.ready: $(GRAFANA)/package.json
	@cd $(GRAFANA) && npm install --silent --ignore-scripts --no-audit --no-fund --no-package-lock
	@touch $@

# Where Debian looks whether it is to make a database, and a service, along with the programs.
CLUSTERS := /etc/postgresql-common/createcluster.d

# Tests want the programs only. Debian would start their services, now and at every boot.
define INSTALL_WITHOUT_STARTING
set -e; \
export DEBIAN_FRONTEND=noninteractive; \
policy=/usr/sbin/policy-rc.d; \
if [ ! -e "$$policy" ]; then \
    trap 'rm -f "$$policy"' EXIT; \
    printf '#!/bin/sh\nexit 101\n' > "$$policy"; chmod 755 "$$policy"; \
fi; \
case "$$missing" in *postgresql*) \
    mkdir -p $(CLUSTERS); echo "create_main_cluster = false" > $(CLUSTERS)/statepipe.conf;; \
esac; \
apt-get update -qq; \
apt-get install -y -qq --no-install-recommends $$missing; \
rm -f $(CLUSTERS)/statepipe.conf; \
case "$$missing" in *prometheus*) \
    if command -v systemctl >/dev/null; then systemctl --quiet disable prometheus || true; fi;; \
esac
endef

# A .venv that works is kept. Otherwise the first Python from 3.11 on makes one, by whatever this
# machine has: the standard library's venv (Debian ships it apart, as python3-venv), virtualenv, uv.
define MAKE_VENV
set -eu; \
if $(BIN)/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
rm -rf .venv; \
for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
    if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
        exec "$$python" -m venv .venv; \
    elif "$$python" -m virtualenv --version >/dev/null 2>&1; then \
        exec "$$python" -m virtualenv --quiet .venv; \
    elif command -v uv >/dev/null; then \
        exec uv venv --quiet --seed --python "$$python" .venv; \
    fi; \
    without_venv=$$python; \
done; \
if [ -n "$${without_venv:-}" ]; then \
    echo "$$without_venv cannot make virtual environments. Type: apt install python3-venv" >&2; \
else \
    echo "No Python from 3.11 on was found. Type: apt install python3 python3-venv" >&2; \
    echo "or name yours: make PYTHON=/path/to/python3" >&2; \
fi; \
exit 1
endef
