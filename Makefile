# Everything a developer types. Each target sets up what it needs in .venv and can be run twice.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help demo test test-vm test-nojit lint types dist check paper clean

help:
	@echo "make demo    tune MobileNetV2 on this machine (sets everything up first)"
	@echo "make test    run the tests (sets everything up first)"
	@echo "make test-vm run the tests that need cgroup v2 and energy counters, in a guest (Debian; no root)"
	@echo "make paper   make the paper's figures and tables anew, simulated (docs/paper.md)"
	@echo "make check   tests, lint, types and packaging: what CI runs"

$(STAMP): pyproject.toml setup.py csrc/build_ffi.py $(wildcard csrc/*.c csrc/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "BayesTuner needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V). Run: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]' # what is imported is compiled then
	@touch $@

demo: $(STAMP)
	$(VENV)/bin/bayestuner doctor
	$(VENV)/bin/bayestuner zoo build mobilenet_v2
	$(VENV)/bin/bayestuner tune examples/jobs/mobilenet_v2.toml --study demo-study

test: $(STAMP)
	$(PY) -m pytest

# Real drivers and kernel interfaces, synthetic energy: docs/testing-with-a-guest.md.
test-vm: $(STAMP)
	$(PY) tests/vm/host/run.py

# The compiled loops as plain Python: numpy warns where compiled code does not, so its warnings are no errors here.
test-nojit: $(STAMP)
	NUMBA_DISABLE_JIT=1 $(PY) -m coverage run -m pytest -m "not compiled" -W ignore::RuntimeWarning tests/core tests/surrogate \
	  tests/search/engine/test_design.py tests/search/engine/test_tuner.py tests/search/test_laws.py tests/search/strategies/test_annealing.py tests/search/strategies/test_batching.py \
	  tests/search/strategies/test_published.py tests/search/strategies/test_trade_off.py
	$(PY) -m coverage report

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy

dist: $(STAMP)
	sh tests/packaging/check_dist.sh $(PY)

check: test test-vm test-nojit lint types dist

paper: $(STAMP)
	$(PY) -m benchmarks.paper

clean:
	rm -rf $(VENV) build dist *.egg-info bayestuner/_native/*.so bayestuner/_native/_ffi.c demo-study
