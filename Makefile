# Everything a contributor runs.  `make` alone lists the targets.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
SOURCES := bench pgswitch soak testkit tests twisted setup.py

# The compiled build is separate, so that no extension module hides a changed source.
# Tests run there, on copies of what they need from the checkout.
COMPILED := build/compiled
COMPILED_STAMP := $(COMPILED)/.installed
COMPILED_FROM := setup.py pyproject.toml \
	$(shell find pgswitch twisted -name '*.py' -o -name '*.[ch]')
COPIED := bench examples pgswitch.tac pyproject.toml soak testkit tests

# The unit tests of compiled modules.
COMPILED_TESTS := $(addprefix tests/unit/,auth net pool relay rules stats takeover wire)

# What may differ between the sources and the compiled build: the hot path, a switchover.
INTERPRETED_TESTS := $(patsubst %,tests/integration/test_%.py,own_answers fuzz_protocol \
	prepared sql_prepared tenants pool_modes clients pooling load wire_faults rules \
	sizes tls_logins switchover)

# Tests against servers mostly wait, so more of them run at a time than a small machine
# has processors.
TESTS_AT_A_TIME ?= 4
PARALLEL := --numprocesses $(TESTS_AT_A_TIME) --dist worksteal
PYTEST_COMPILED = cd $(COMPILED) && \
	$(CURDIR)/$(BIN)/python -m pytest --quiet $(PARALLEL) -p no:cacheprovider

# editable_mode=compat: the default editable install hides twisted/plugins from twistd.
# --use-pep517: txpostgres has no wheel, and older pips build it with a warning otherwise.
# PGSWITCH_PURE: compiled modules inside the checkout would hide later changes to the
# files they were made from; a plain `pip install .` compiles.
INSTALL := PGSWITCH_PURE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--use-pep517 --config-settings editable_mode=compat --editable

.DEFAULT_GOAL := help
.PHONY: help fuzz fuzz-protocol demo demo-switchover check format reference unit integration \
	compiled interpreted compiled-copies bench bench-switchover settings soak test clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-17s %s\n", $$1, $$2}' Makefile

demo: $(DEMO_STAMP)  ## PostgreSQL, pgswitch and a workload until Ctrl-C (ARGS=--once: until it is done)
	@$(BIN)/pgswitch demo $(ARGS)

demo-switchover: $(DEMO_STAMP)  ## three nodes whose writer moves, until Ctrl-C (ARGS=--once: twice)
	@$(BIN)/pgswitch demo switchover --out build/demo/switchover.svg $(ARGS)

check: $(DEV_STAMP)  ## style, format and types
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES)
	@$(BIN)/mypy

format: $(DEV_STAMP)  ## fix style and format where a tool can
	@$(BIN)/ruff check --fix --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

reference: $(DEV_STAMP)  ## write docs/reference from the tables in the code
	@$(BIN)/python -m pgswitch.reference

unit: $(DEV_STAMP)  ## tests without sockets (ARGS goes to pytest)
	@$(BIN)/python -m pytest --quiet tests/unit $(ARGS)

compiled: compiled-copies  ## the unit tests of compiled modules, on the compiled build
	@$(PYTEST_COMPILED) $(COMPILED_TESTS) $(ARGS)

integration: compiled-copies  ## tests against real PostgreSQL servers, on the compiled build
	@$(PYTEST_COMPILED) tests/integration $(ARGS)

# One PostgreSQL is enough here, with TLS and without: the wheels, not the machine's own.
interpreted: $(DEV_STAMP)  ## a selection of these tests on the sources
	@$(BIN)/python -m pytest --quiet $(PARALLEL) \
		-k 'wheel or celerp or fuzz' $(INTERPRETED_TESTS) $(ARGS)

compiled-copies: $(COMPILED_STAMP)
	@rm -rf $(addprefix $(COMPILED)/,$(COPIED))
	@cp -R $(COPIED) $(COMPILED)/
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -c "import shutil; \
		from pgswitch.compiled import is_compiled; \
		print('hot path compiled:', is_compiled()); \
		assert is_compiled() or not shutil.which('cc'), 'see pip install -v .'"

bench: $(COMPILED_STAMP)  ## CPU, speed and memory compared with PgBouncer (QUICK=1: two minutes)
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

bench-switchover: $(DEV_STAMP)  ## outages of clients in 20 switchovers and 20 crashes (ARGS="--moves 3": fewer)
	@$(BIN)/python -m bench.switchover $(ARGS)

settings: $(COMPILED_STAMP)  ## each setting at its extremes against the defaults, ten minutes (QUICK=1: two)
	@$(BIN)/python -m bench.settings --compiled $(COMPILED) $(if $(QUICK),--quick) $(ARGS)

soak: $(DEV_STAMP)  ## 2,000 misbehaving clients and random faults for 3 minutes (ARGS=--help)
	@$(BIN)/python -m soak $(ARGS)

fuzz: $(DEV_STAMP)  ## fuzzing before a login for SECONDS (60), by atheris if available
	@$(BIN)/python -c "import atheris" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris || true
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),60)

fuzz-protocol: $(DEV_STAMP)  ## random clients compared with PostgreSQL for SECONDS (60), by a SEED
	@$(BIN)/python -m tests.fuzz.protocol --seconds $(or $(SECONDS),60) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

test:  ## all of these: unit, compiled, integration, interpreted
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory compiled
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory interpreted

clean:  ## remove the environment, builds and caches
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
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
