# The verbs of this project: a person, a hook and CI call the same ones.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PEERS := .peers
REPETITIONS ?= 5
WORKERS ?= auto

.PHONY: setup demo test lint types check bench-peers bench-recbole clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable . --group dev
	touch $(STAMP)

demo: setup
	$(BIN)/recvec demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

check: setup
	$(BIN)/python -m pytest -n $(WORKERS)

test: lint types check

# Speed against other libraries, which get an environment of their own; the sides take turns.
bench-peers: setup $(PEERS)/.installed
	for name in als topk bpr; do \
		$(BIN)/python benchmarks/speed/$$name.py --peer-python $(PEERS)/bin/python --repetitions $(REPETITIONS) || exit 1; \
	done
	$(BIN)/python benchmarks/speed/als_curve.py --peer-python $(PEERS)/bin/python

$(PEERS)/.installed: benchmarks/speed/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -r $<
	touch $@

# RecBole needs old dependencies, so that it has an environment of its own.
bench-recbole: setup $(PEERS)/recbole/.installed
	$(BIN)/python benchmarks/speed/neumf.py --peer-python $(PEERS)/recbole/bin/python --repetitions $(REPETITIONS)

$(PEERS)/recbole/.installed: benchmarks/speed/peers/recbole_requirements.txt
	$(PYTHON) -m venv $(PEERS)/recbole
	$(PEERS)/recbole/bin/python -m pip install --quiet -r $<
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
