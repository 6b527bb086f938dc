# A machine needs Python 3.11 or newer and make; everything else is installed, pinned and hashed, into .venv.
# Another interpreter: make PYTHON=python3.12 test (its virtual environment is .venv-python3.12).
PYTHON ?= python3
VENV   ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
ARGS   ?=
CHROMIUM ?= /usr/bin/chromium
BIN    := $(VENV)/bin
SDL    := schema/siyu_graphql/schema.graphql
BASE   ?= $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || echo main)
PIP     = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
PIN     = uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-emit-find-links --annotation-style line \
          --custom-compile-command "make requirements" --extra demo --group build

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long test-spark test-browser frontend lint format sdl sdl-diff bench bench-graphql bench-peers requirements clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: $(VENV)/.demo  ## real purchases in, a served API out: http://127.0.0.1:8000 (ARGS="--port 8001")
	@$(BIN)/siyu demo $(ARGS)

# All of them in a process a core, each with servers of its own; a few, as ARGS say, are there sooner in one. Where each
# core has a process, threads of Polars only get into each other's way.
test: $(VENV)/.dev  ## run the tests (ARGS="-k rfm -x")
	@$(if $(ARGS),,POLARS_MAX_THREADS=1) $(BIN)/python -m pytest $(or $(ARGS),-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder)

test-spark: java $(VENV)/.spark  ## run the tests that hold Spark to the other engines (needs Java; some minutes)
	@$(BIN)/python -m pytest -m spark $(ARGS)

test-long: $(VENV)/.dev  ## thousands of generated queries and examples, ten minutes of fuzzing (SIYU_FUZZ_SECONDS=600)
	@SIYU_EXAMPLES=$(or $(SIYU_EXAMPLES),20) $(BIN)/python -m pytest -m "(long or examples) and not spark" $(ARGS)

.PHONY: java
java:
	@command -v java >/dev/null || test -n "$$JAVA_HOME" || { echo "Spark needs Java 17 or newer, which was not found \
	(Debian, Ubuntu: apt-get install default-jre-headless)" >&2; exit 1; }

FRONTEND := examples/frontend

frontend: $(FRONTEND)/node_modules/.made  ## build, type-check and lint the example page (needs Node 20 or newer)
	@cd $(FRONTEND) && npm run --silent build && npm run --silent lint

test-browser: $(VENV)/.demo frontend  ## the example page in headless Chromium, on the demo (CHROMIUM=/usr/bin/chromium)
	@test -x "$(CHROMIUM)" || { echo "test-browser needs Chromium: none at $(CHROMIUM) \
	(Debian: apt-get install chromium fonts-noto-cjk; elsewhere CHROMIUM=/path)" >&2; exit 1; }
	@cd $(FRONTEND) && SIYU=$(abspath $(BIN))/siyu CHROMIUM=$(CHROMIUM) npm run --silent test:browser

$(FRONTEND)/node_modules/.made: $(FRONTEND)/package-lock.json
	@command -v npm >/dev/null || { echo "the page needs Node.js 20 or newer with npm" >&2; exit 1; }
	@cd $(FRONTEND) && npm ci --silent && touch node_modules/.made

lint: $(VENV)/.dev  ## style, types and import contracts
	@echo "ruff";         $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "mypy";         $(BIN)/mypy
	@echo "lint-imports"; $(BIN)/lint-imports

format: $(VENV)/.dev  ## put the code into shape
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

sdl: $(VENV)/.dev  ## write the GraphQL schema to schema/siyu_graphql/schema.graphql
	@$(BIN)/siyu schema > $(SDL).new && mv $(SDL).new $(SDL) && echo "wrote $(SDL)"

sdl-diff: $(VENV)/.dev  ## name what the schema breaks for those who query it since BASE (the last release, or BASE=main)
	@git show $(BASE):$(SDL) | $(BIN)/siyu schema --against /dev/stdin

bench: $(VENV)/.dev  ## run the benchmarks (ARGS="refresh --users 100000")
	@$(BIN)/python -m benchmarks $(ARGS)

# A virtual environment of its own: rule-engine wants an older python-dateutil than the demo has. Spark wants Java 17.
bench-peers:  ## siyu beside other rule engines and RFM libraries, in .venv-peers (ARGS="rules --users 1000000")
	@$(MAKE) --no-print-directory VENV=$(VENV)-peers $(VENV)-peers/.peers
	@set -e; for each in $(if $(ARGS),"$(ARGS)",rules rfm); do $(VENV)-peers/bin/python -m benchmarks $$each; done

bench-graphql: $(VENV)/.dev  ## the API beside other GraphQL servers (needs node, npm and wrk; ARGS="--rounds 5")
	@cd benchmarks/graphql/peers && npm ci --silent
	@$(BIN)/python -m benchmarks graphql $(ARGS)

requirements:  ## pin and hash the dependencies anew (ARGS=--upgrade; needs uv)
	@command -v uv >/dev/null || { echo "make requirements needs uv: pip install uv" >&2; exit 1; }
	$(PIN) $(ARGS) -o requirements/demo.txt
	$(PIN) $(ARGS) --group dev -c requirements/demo.txt -o requirements/dev.txt
	$(PIN) $(ARGS) --extra spark --group dev -c requirements/dev.txt -o requirements/spark.txt
	$(PIN) $(ARGS) --group peers -o requirements/peers.txt

clean:  ## remove the virtual environments, caches and builds; data in .siyu stays
	rm -rf .venv .venv-* dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "'$(PYTHON)' was not found: siyu needs Python 3.11 or newer; \
	name yours: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "siyu needs Python 3.11 or newer; \
	$$($(PYTHON) --version 2>&1 | head -n 1) is not. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no module venv: install it \
	(Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# A stamp is as new as the last install; an edited pyproject.toml (an entry point) installs again.
$(VENV)/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "installing $< (some minutes the first time)"
	@$(PIP) --require-hashes -r $<
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
