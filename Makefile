# The commands of the house. A fresh machine needs Python 3.11 or newer and make; `make setup` does the rest.
VENV ?= .venv
ROOM ?= recipes
PYTHON ?= python3
# Test files that run at once, on a thread each; what a file makes for its tests is made once.
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo check fix test test-all bench soak docs clean

setup: $(STAMP)  ## make the environment

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[dev]"
	@if [ -d .git ] && [ -z "$$CI" ]; then $(BIN)/pre-commit install >/dev/null; fi
	@touch $@

demo: setup  ## the whole life on embedded data, with a report and a served answer
	$(BIN)/bedplate demo

check: setup  ## everything that must hold of the code: format, lint, types, imports, house rules, licences
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/house/test_house.py tests/house/test_imports.py tests/house/test_docs.py
	$(BIN)/python tools/audit_licences.py

fix: setup  ## mend what can be mended by a tool
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup  ## the fast tests; those that need data run if BEDPLATE_DATA is set
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow"

test-all: setup  ## every test, with the recipes at full length
	$(BIN)/python -m pytest -q

bench: setup  ## benchmarks: make bench (the recipes' scores), or ROOM=… for another
	$(BIN)/python -m benchmarks.$(ROOM)

soak: setup  ## an hour under load: does memory grow, do times? (MINUTES=10 for less, BUNDLE=DIR for another model)
	$(BIN)/python -m benchmarks.serving.soak --minutes $(or $(MINUTES),60) $(if $(BUNDLE),--bundle $(BUNDLE))

docs: setup  ## regenerate the tables and help texts in docs/, and fail if a page links to nothing
	$(BIN)/python tools/build_reliability.py
	$(BIN)/python tools/build_docs.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
