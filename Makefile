# Everything a contributor runs.  `make` alone lists the targets.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
SOURCES := bench pgswitch soak tests twisted setup.py

# The compiled build stands apart, so that no extension module hides a changed source.
COMPILED := build/compiled
COMPILED_STAMP := $(COMPILED)/.installed
COMPILED_FROM := setup.py pyproject.toml $(wildcard pgswitch/*.py pgswitch/*/*.py pgswitch/*/*.c)
COMPILED_TESTS := tests/unit/wire tests/unit/relay tests/unit/stats tests/unit/rules \
	tests/unit/auth tests/unit/net tests/unit/pool tests/unit/handover \
	tests/integration/test_own_answers.py tests/integration/test_fuzz_protocol.py \
	tests/integration/test_prepared.py tests/integration/test_sql_prepared.py \
	tests/integration/test_tenants.py tests/integration/test_pool_modes.py \
	tests/integration/test_clients.py tests/integration/test_pooling.py \
	tests/integration/test_load.py tests/integration/test_wire_faults.py \
	tests/integration/test_rules.py tests/integration/test_sizes.py \
	tests/integration/test_tls_logins.py

# Tests against servers wait more than they compute, so there are more of them at a time
# than a small machine has processors.
TESTS_AT_A_TIME ?= 4
PARALLEL := --numprocesses $(TESTS_AT_A_TIME) --dist worksteal

# editable_mode=compat: the default editable install hides twisted/plugins from twistd.
# --use-pep517: txpostgres has no wheel, and older pips build it with a warning otherwise.
# PGSWITCH_PURE: compiled modules inside the checkout would hide later changes to the
# files they were made from; a plain `pip install .` compiles.
INSTALL := PGSWITCH_PURE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--use-pep517 --config-settings editable_mode=compat --editable

.DEFAULT_GOAL := help
.PHONY: help fuzz fuzz-protocol demo demo-switchover check format reference unit integration compiled bench \
	bench-switchover settings soak test clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-17s %s\n", $$1, $$2}' Makefile

demo: $(DEMO_STAMP)  ## PostgreSQL, pgswitch and a workload; Ctrl-C ends it (ARGS=--once: by itself)
	@$(BIN)/python -m pgswitch.demo $(ARGS)

demo-switchover: $(DEMO_STAMP)  ## three nodes whose writer moves, live (ARGS=--once: ends by itself)
	@$(BIN)/python -m pgswitch.demo.switchover $(ARGS)

check: $(DEV_STAMP)  ## style, format and types
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES)
	@$(BIN)/mypy

format: $(DEV_STAMP)  ## mend style and format where a tool can
	@$(BIN)/ruff check --fix --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

reference: $(DEV_STAMP)  ## write docs/reference from the tables in the code
	@$(BIN)/python -m pgswitch.reference

unit: $(DEV_STAMP)  ## tests without sockets (ARGS goes to pytest)
	@$(BIN)/python -m pytest --quiet tests/unit $(ARGS)

integration: $(DEV_STAMP)  ## tests against real PostgreSQL servers (ARGS goes to pytest)
	@$(BIN)/python -m pytest --quiet $(PARALLEL) tests/integration $(ARGS)

compiled: $(COMPILED_STAMP)  ## the tests of the hot path once more, on a compiled build
	@rm -rf $(addprefix $(COMPILED)/,bench examples tests)
	@cp -R bench examples tests pyproject.toml $(COMPILED)/
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -c "import shutil; \
		from pgswitch.compiled import is_compiled; \
		print('hot path compiled:', is_compiled()); \
		assert is_compiled() or not shutil.which('cc'), 'see pip install -v .'"
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m pytest --quiet $(PARALLEL) \
		-p no:cacheprovider \
		-k 'not integration or wheel or fuzz' $(COMPILED_TESTS) $(ARGS)

bench: $(COMPILED_STAMP)  ## CPU, speed and memory beside PgBouncer (QUICK=1: two minutes)
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

bench-switchover: $(DEV_STAMP)  ## outages of clients in 20 planned moves and 20 crashes (ARGS="--moves 3": fewer)
	@$(BIN)/python -m bench.switchover $(ARGS)

settings: $(COMPILED_STAMP)  ## each setting at its extremes beside the defaults, ten minutes (QUICK=1: two)
	@$(BIN)/python -m bench.settings --compiled $(COMPILED) $(if $(QUICK),--quick) $(ARGS)

soak: $(DEV_STAMP)  ## 2,000 clients that come and die at random for 3 minutes (ARGS=--help)
	@$(BIN)/python -m soak $(ARGS)

fuzz: $(DEV_STAMP)  ## what strangers may send, SECONDS of it (60), by atheris if it can be had
	@$(BIN)/python -c "import atheris" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris || true
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),60)

fuzz-protocol: $(DEV_STAMP)  ## random clients beside PostgreSQL itself, SECONDS of it (60), by a SEED
	@$(BIN)/python -m tests.fuzz.protocol --seconds $(or $(SECONDS),60) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

test:  ## unit, then integration tests, then those of the compiled build
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory compiled

clean:  ## remove the environment, builds and caches
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find pgswitch tests twisted -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f twisted/plugins/dropin.cache

$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(DEMO_STAMP): pyproject.toml setup.py | $(BIN)/python
	@echo "installing pgswitch and what the demo needs"
	@$(INSTALL) '.[demo]'
	@touch $@

$(COMPILED_STAMP): $(COMPILED_FROM) | $(DEV_STAMP)
	@echo "compiling the hot path"
	@rm -rf $(COMPILED) build/bdist.* build/lib.* build/temp.*
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --target $(COMPILED) .
	@touch $@

$(DEV_STAMP): pyproject.toml setup.py | $(BIN)/python
	@echo "installing pgswitch and what the tests need"
	@$(INSTALL) '.[dev]'
	@touch $@
