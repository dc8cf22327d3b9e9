# Commands for contributors. Each installs what it needs, and only into this folder.
#
# requirements/lock.txt pins every package by its hash; your own configuration of pip and uv names the
# index. `uv sync --all-extras` makes the same environment.

.DEFAULT_GOAL := help
.PHONY: help run quick test full check style mypy pyright programs suite whole format bench soak site dist lock clean

UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/uv/bin/uv)
BIN := .venv/bin
# Bytecode is written, even if the environment forbids it: tests start more than a thousand processes.
PYTEST := MAKEFLAGS= PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
QUICK = $(addprefix tests/,types engine wires settings telemetry providers stores buses tools runtime)
# Tests that import libraries of providers, which takes seconds.
VENDORS = $(addprefix --ignore=tests/providers/test_,any_llm.py provider_conformance.py)
# Two jobs at a time, as even small machines have two cores; the output of a job is not interleaved.
PARALLEL = $(MAKE) --no-print-directory --jobs 2 --output-sync
# If several commands start at once in a new checkout, one sets it up and the others wait (with flock).
LOCK = mkdir -p .tools; exec 9>.tools/lock; if command -v flock >/dev/null; then flock 9; fi
# Environments of third-party programs, which tests start.
PROGRAMS = mcp-servers mcp-servers-old openapi-generators openai-clients openai-client-old llama-index litellm release chart site
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/.ready ## start backend and web chat on port 8000 or the next free one, until Ctrl+C
	@$(BIN)/python examples/first_run.py

quick: .venv/.ready ## pure tests and tests in one process, below a minute
	@$(PYTEST) --forks 3 -m "not slow and not soak and not processes" $(QUICK) $(VENDORS)

# pyright is left to `make full`: it takes a minute of processor time.
test: .venv/.ready ## the check of every change: mypy, style, and all tests but the slow ones
	@$(PARALLEL) mypy style suite

full: .venv/.ready ## the check of main and of releases: the same with pyright and the slow tests
	@$(PARALLEL) pyright mypy style whole

check: .venv/.ready ## generated files, style, types and import contracts
	@$(PARALLEL) pyright mypy style

style:
	@$(BIN)/python scripts/generate_sync.py --check
	@$(BIN)/python scripts/generate_typescript.py --check
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

mypy pyright:
	@$(BIN)/$@

programs:
	@$(BIN)/python tests/support/install_programs.py

# More processes than cores, because tests wait half of the time. `+` shows the output as it comes.
suite: programs
	+@$(PYTEST) --forks 6 -m "not slow and not soak"

whole: programs
	+@$(PYTEST) --forks 6 -m "not soak"

format: .venv/.ready ## format the code, and generate the clients and the reference
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/python scripts/generate_sync.py
	@$(BIN)/python scripts/generate_typescript.py
	@$(BIN)/python docs/reference/make.py

bench: .venv/.ready ## measure the speed, and describe the machine
	@$(BIN)/python -m benchmarks

soak: .venv/.ready ## hours of kills, cut connections, races and generated examples
	@$(PYTEST) -m soak --timeout 0
	@$(PYTEST) -m "hypothesis and not soak" --timeout 0 --hypothesis-profile searching

site: .venv/.ready ## build the documentation site into build/site
	@$(BIN)/python docs/site/build.py

dist: .venv/.ready .tools/release/.ready ## build and check wheel, source archive and bill of materials
	@$(BIN)/python scripts/build_packages.py

lock: $(UV) ## update the pinned versions of all packages
	@$(COMPILE) --all-extras --group dev --output-file requirements/lock.txt pyproject.toml
	@for program in $(PROGRAMS); do $(COMPILE) --python-version 3.11 \
		--output-file requirements/$$program.txt requirements/$$program.in || exit 1; done
	@$(COMPILE) --python-version 3.12 --output-file requirements/ogx.txt requirements/ogx.in

clean: ## remove everything that these commands made
	@rm -rf .venv .tools build dist .*_cache .hypothesis

.venv/.ready: requirements/lock.txt pyproject.toml | $(UV)
	@echo "setting up .venv ..."
	@set -e; $(LOCK); test ! $@ -nt requirements/lock.txt || test ! $@ -nt pyproject.toml || exit 0; \
	test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' .venv; \
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/lock.txt; \
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	touch $@

.tools/release/.ready: requirements/release.txt | $(UV)
	@set -e; $(LOCK); test ! $@ -nt requirements/release.txt || exit 0; \
	$(UV) venv --quiet --clear --python '>=3.11' .tools/release; \
	$(UV) pip sync --quiet --python .tools/release/bin/python --require-hashes requirements/release.txt; \
	touch $@

.tools/uv/bin/uv:
	@echo "uv is not installed: installing it into .tools ..."
	@$(LOCK); test ! -x $@ || exit 0; \
	python3 -m venv .tools/uv || { rm -rf .tools/uv; \
		echo "make: wanted uv, or a python3 with the module venv (Debian, Ubuntu: apt install" >&2; \
		echo "python3-venv); found neither. Install one of them and try again." >&2; exit 1; }; \
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
