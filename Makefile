# Everything a developer types. Each target sets up what it needs in .venv and can be run twice.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
WARM_UP := $(PY) -c 'from bayestuner.search.engine import warmup; warmup.wait()'
CORES := $(shell nproc)
# Side by side, one more than there are cores, since many tests wait for programs: tests/side_by_side.py says which stay together.
PYTEST := $(PY) -m pytest -n
WORKERS := $(shell expr $(CORES) + 1)
GUESTS_AT_ONCE ?= $(CORES)

# Python keeps the byte code of what it imports, whatever the environment says: tests start hundreds of interpreters.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo quick test test-all test-vm test-ray test-nojit compiled lint types dist check paper clean

help:
	@echo "make quick      run the tests that are fast and start no jobs: the inner loop, under a minute"
	@echo "make test       run the tests (sets everything up first)"
	@echo "make test-all   run the tests in their long form: all rounds of those that repeat"
	@echo "make test-vm    run the tests that need cgroup v2 and energy counters, in a guest (Debian; no root)"
	@echo "make test-nojit run the compiled loops as plain Python and report which lines the tests reach"
	@echo "make test-ray   run the tests of Ray Tune's door, in an environment of its own (300 MB)"
	@echo "make dist       build the package, install it in fresh environments and try it there"
	@echo "make check      all of these, lint and types: what CI runs"
	@echo "make demo       tune MobileNetV2 on this machine (sets everything up first)"
	@echo "make paper      make the paper's figures and tables anew, simulated (docs/paper.md)"

$(STAMP): pyproject.toml setup.py csrc/build_ffi.py $(wildcard csrc/*.c csrc/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "BayesTuner needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V). Run: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]' # what is imported is compiled then
	@$(PY) -m pytest --collect-only -q >/dev/null 2>&1 & $(WARM_UP); wait # beside each other, what every test process needs
	@touch $@

demo: $(STAMP)
	$(VENV)/bin/bayestuner doctor
	$(VENV)/bin/bayestuner zoo build mobilenet_v2
	$(VENV)/bin/bayestuner tune examples/jobs/mobilenet_v2.toml --study demo-study || [ $$? -eq 6 ]

quick: compiled
	$(PYTEST) $(CORES) -m "not slow and not cgroup" tests/core tests/surrogate tests/search tests/study tests/simulate tests/report tests/test_*.py

test: compiled
	$(PYTEST) $(WORKERS)

test-all: compiled
	$(PYTEST) $(WORKERS) --long --ignore=tests/packaging # which `make dist` runs

# Once, before several workers need it at the same time; a moment where nothing in bayestuner/_core has changed.
compiled: $(STAMP)
	@$(WARM_UP)

# Real drivers and kernel interfaces, synthetic energy: docs/testing-with-a-guest.md.
test-vm: $(STAMP)
	$(PY) tests/vm/host/run.py --at-once $(GUESTS_AT_ONCE)

# The compiled loops as plain Python: numpy warns where compiled code does not, so its warnings are no errors here.
test-nojit: $(STAMP)
	NUMBA_DISABLE_JIT=1 $(PY) -m coverage run -m pytest -m "not compiled" -W ignore::RuntimeWarning tests/core tests/surrogate \
	  tests/search/engine/test_design.py tests/search/engine/test_tuner.py tests/search/engine/test_exact_limits.py tests/search/engine/test_recheck.py \
	  tests/search/engine/test_calibration.py tests/search/test_laws.py tests/search/test_bad_input.py tests/search/strategies/test_annealing.py tests/search/strategies/test_batching.py \
	  tests/search/strategies/test_published.py tests/search/strategies/test_trade_off.py
	$(PY) -m coverage report

# Ray Tune's door, in an environment of its own: Ray and what it needs are larger than everything else together.
RAY_VENV := build/ray-venv
$(RAY_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(RAY_VENV)
	$(RAY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[ray]' pytest
	@touch $@

test-ray: $(RAY_VENV)/.installed
	$(RAY_VENV)/bin/python -m pytest -p no:cacheprovider tests/hosts

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy

dist: $(STAMP)
	$(PY) -m pytest --long tests/packaging

# First what uses all cores, then guests one after the other beside the rest; what one of them says is shown whole when it has ended.
check: test-all
	$(MAKE) --jobs=2 --keep-going --output-sync=target GUESTS_AT_ONCE=1 test-vm test-ray test-nojit dist types lint

paper: $(STAMP)
	$(PY) -m benchmarks.paper

clean:
	rm -rf $(VENV) build dist *.egg-info bayestuner/_native/*.so bayestuner/_native/_ffi.c demo-study
