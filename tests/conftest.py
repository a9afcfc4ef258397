"""Shared set-up of all tests."""

import os

# One core a test: BLAS pools of several workers on a small machine slow everything down. Set before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
