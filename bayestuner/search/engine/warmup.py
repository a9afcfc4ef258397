"""Compile the loops, or load what was compiled before, in a background thread while the first test run executes."""

from __future__ import annotations

import atexit
import threading

import numpy as np

from bayestuner.space import Categorical, Integer, Space

_started: threading.Thread | None = None
_stop = threading.Event()
_lock = threading.Lock()


def start() -> threading.Thread:
    """Start to warm up, once in a process; return the thread."""
    global _started  # noqa: PLW0603 - one warm-up a process
    with _lock:
        if _started is None:
            _started = threading.Thread(target=_warm_up, name="bayestuner-warm-up", daemon=True)
            _started.start()
            # LLVM must not be torn down under a compiling thread: at exit, wait for the function being compiled and start no other
            atexit.register(_finish)
        return _started


def wait() -> None:
    """Wait until everything is compiled."""
    start().join()


def _finish() -> None:
    _stop.set()
    if _started is not None:
        _started.join()


def _warm_up() -> None:
    """Call each compiled entry point of a search once, on a tiny problem."""
    from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, ModelBound, Packed, Scorer
    from bayestuner.surrogate.covariance import Geometry
    from bayestuner.surrogate.gp import GaussianProcess

    space = Space(Integer("a", 1, 3), Categorical("b", ["x", "y"]))
    geometry = Geometry.of(space)
    gp = GaussianProcess(geometry)
    codes = space.codes([0, 3])

    def fit() -> None:
        gp.fit(codes, np.array([-1.0, 1.0]), np.ones(2), np.zeros(2))

    def score() -> None:
        packed = Packed.of([gp, gp], geometry.d, geometry.levels.size)
        scorer = Scorer(space, geometry.level_starts, geometry.kinds)
        exclusions = np.zeros(space.n_rows, dtype=np.bool_)
        scorer.best(EXPECTED_IMPROVEMENT, packed, [ModelBound(1, 1.0, 0.0)], exclusions, objective=0)

    steps = (fit, lambda: gp.predict(codes), lambda: gp.extend(codes[0], 0.0, 1.0), score)
    for step in steps:
        if _stop.is_set():
            return
        step()
