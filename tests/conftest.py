"""Shared set-up of all tests."""

import atexit
import os
import shutil
import tempfile

# Tests run beside other tuners, and several tunes of one session beside each other's: they take no lock of the whole machine.
os.environ["BAYESTUNER_RUNTIME_DIR"] = _folder = tempfile.mkdtemp(prefix="bayestuner-runtime-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

# One core a test: BLAS pools of several workers on a small machine slow everything down. Set before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
