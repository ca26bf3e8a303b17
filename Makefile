# Every target sets up .venv by itself where it is missing, so a fresh clone needs no other command.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
READY := $(VENV)/.ready
RUNS := runs/demo
export GANCORE_CACHE ?= $(CURDIR)/runs/cache

.PHONY: demo test lowest coverage lint format docs bench wheels clean

$(READY): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]" $(PLUGINS:%=--editable %) onnx onnxscript scikit-learn lmdb simplejpeg coverage mypy ruff
	touch $@

# Long-tailed digits without and with the class-balancing regularizer, side by side in one report.
demo: $(READY)
	rm -rf $(RUNS)
	$(BIN)/gancore train cbgan/digits-lt-baseline --out $(RUNS)/baseline
	$(BIN)/gancore train cbgan/digits-lt --out $(RUNS)/cbgan
	$(BIN)/gancore report $(RUNS)/baseline $(RUNS)/cbgan --out $(RUNS)/report.html

# Files of tests run side by side, each with one thread: the tests' tensors are small, and two processes' threads would take each
# other's time.
test: export OMP_NUM_THREADS ?= 1
test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

# The same tests, in an environment of its own with every library at the lower bound that the distributions state.
lowest:
	$(PYTHON) tests/lowest.py $(ARGS)

# The same tests, and which lines and branches they reach; fails below the floor of pyproject.toml.
coverage: $(READY)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation's site, in build/site; what is wrong with a page or a link ends it.
docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

bench: $(READY)
	$(BIN)/python -m benchmarks.step_cost

wheels: $(READY)
	rm -rf build/wheels
	for part in . $(PLUGINS); do $(BIN)/python -m build --wheel --no-isolation --outdir build/wheels $$part || exit 1; done

clean:
	rm -rf build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache
