# Every target sets up .venv by itself where it is missing, so a fresh clone needs no other command.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
READY := $(VENV)/.ready
RUNS := runs/demo
export GANCORE_CACHE ?= $(CURDIR)/runs/cache

.PHONY: demo test lint format bench wheels clean

$(READY): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]" $(PLUGINS:%=--editable %) scikit-learn ruff mypy build hatchling
	touch $@

# Long-tailed digits without and with the class-balancing regularizer, side by side in one report.
demo: $(READY)
	rm -rf $(RUNS)
	$(BIN)/gancore train cbgan/digits-lt-baseline --out $(RUNS)/baseline
	$(BIN)/gancore train cbgan/digits-lt --out $(RUNS)/cbgan
	$(BIN)/gancore report $(RUNS)/baseline $(RUNS)/cbgan --out $(RUNS)/report.html

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks.step_cost

wheels: $(READY)
	rm -rf build/wheels
	for part in . $(PLUGINS); do $(BIN)/python -m build --wheel --no-isolation --outdir build/wheels $$part || exit 1; done

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
