# The only commands to know. Each sets up what it needs, in this folder only.
#
# requirements/lock.txt pins every package by its hash; where packages come from is your own
# configuration. Who prefers `uv sync --all-extras` gets the same environment.

.DEFAULT_GOAL := help
.PHONY: help run quick test full check style mypy pyright programs suite whole format bench soak site dist lock clean

UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/uv/bin/uv)
BIN := .venv/bin
# Compiled once, and not by each of some thousand processes, whatever the environment says.
PYTEST := MAKEFLAGS= PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
QUICK = $(addprefix tests/,types engine wires settings telemetry providers stores buses tools runtime)
# These import vendors' libraries, which takes seconds.
VENDORS = $(addprefix --ignore=tests/providers/test_,any_llm.py provider_conformance.py)
# As many at a time as most machines have processors; what one says stands together.
ABREAST = $(MAKE) --no-print-directory --jobs 2 --output-sync
# Of commands that start at once in a new checkout, one sets it up and the others wait (with flock).
LOCK = mkdir -p .tools; exec 9>.tools/lock; if command -v flock >/dev/null; then flock 9; fi
# Environments of other people's programs, which tests start.
TESTED = mcp-servers mcp-servers-old openapi-generators openai-clients openai-client-old llama-index litellm release chart site
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/.ready ## start backend and web chat on port 8000 or the next free one, until Ctrl+C
	@$(BIN)/python examples/first_run.py

quick: .venv/.ready ## pure tests and tests in one process, below a minute
	@$(PYTEST) --forks 3 -m "not slow and not soak and not processes" $(QUICK) $(VENDORS)

# pyright judges by stricter rules what mypy has judged, and takes a minute of the processor.
test: .venv/.ready ## what must hold before a change is taken: checks, and all tests but the slow ones
	@$(ABREAST) mypy style suite

full: .venv/.ready ## the same with the slow tests and pyright: what main is tried with, and a release
	@$(ABREAST) pyright mypy style whole

check: .venv/.ready ## generated files, style, types and who may import whom
	@$(ABREAST) pyright mypy style

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

# Tests wait for programs half of the time. `+` shows what this prints as it comes.
suite: programs
	+@$(PYTEST) --forks 6 -m "not slow and not soak"

whole: programs
	+@$(PYTEST) --forks 6 -m "not soak"

format: .venv/.ready ## put the code in order, and generate the clients and the reference
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/python scripts/generate_sync.py
	@$(BIN)/python scripts/generate_typescript.py
	@$(BIN)/python docs/reference/make.py

bench: .venv/.ready ## measure, and state on what
	@$(BIN)/python -m benchmarks

soak: .venv/.ready ## the long runs: kills, cuts, races and examples by the thousand
	@$(PYTEST) -m soak --timeout 0
	@$(PYTEST) -m "hypothesis and not soak" --timeout 0 --hypothesis-profile searching

site: .venv/.ready ## build the documentation site into build/site
	@$(BIN)/python docs/site/build.py

dist: .venv/.ready .tools/release/.ready ## build and check wheel, source archive and bill of materials
	@$(BIN)/python scripts/build_packages.py

lock: $(UV) ## pin anew what pyproject.toml asks for
	@$(COMPILE) --all-extras --group dev --output-file requirements/lock.txt pyproject.toml
	@for tested in $(TESTED); do $(COMPILE) --python-version 3.11 \
		--output-file requirements/$$tested.txt requirements/$$tested.in || exit 1; done
	@$(COMPILE) --python-version 3.12 --output-file requirements/ogx.txt requirements/ogx.in

clean: ## remove what these commands made
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
	@echo "uv is not here: installing it into .tools ..."
	@$(LOCK); test ! -x $@ || exit 0; \
	python3 -m venv .tools/uv || { rm -rf .tools/uv; \
		echo "make: wanted uv, or a python3 that can make environments (Debian, Ubuntu: apt install" >&2; \
		echo "python3-venv); found neither. Install one of them and try again." >&2; exit 1; }; \
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
