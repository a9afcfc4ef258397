"""Compile the loops, or load what was compiled before, in a background thread while the first test run executes."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterator

import numpy as np

from bayestuner.forking import ForkSafe
from bayestuner.space import Categorical, Integer, Space

PAUSE_S = 0.001  # between two steps, for a fork that waits for the lock


class _WarmUp(ForkSafe):
    """The warm-up of this process. It holds its lock during each step, because an import or a compilation can't be forked."""

    def __init__(self) -> None:
        super().__init__()
        self.thread: threading.Thread | None = None
        self.stop = threading.Event()
        self._starting = threading.Lock()  # another than that of the steps, which would delay an ask that starts nothing

    def start(self) -> threading.Thread:
        with self._starting:
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="bayestuner-warm-up", daemon=True)
                self.thread.start()
            return self.thread

    def finish(self) -> None:
        """Wait for the step in hand and start no other: LLVM must not be torn down under a compiling thread."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join()

    def _run(self) -> None:
        steps = _steps()
        while True:
            with self._lock:
                if self.stop.is_set() or next(steps, None) is None:
                    return
            time.sleep(PAUSE_S)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self.thread, self.stop, self._starting = None, threading.Event(), threading.Lock()  # the child warms up on its own


_warm_up = _WarmUp()
atexit.register(_warm_up.finish)


def start() -> threading.Thread:
    """Start to warm up, once in a process; return the thread."""
    return _warm_up.start()


def wait() -> None:
    """Wait until everything is compiled."""
    start().join()


def _steps() -> Iterator[str]:
    """Call each compiled entry point of a search once, on a tiny problem; yields the name of each step after it was done."""
    from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, ModelBound, Packed, Scorer
    from bayestuner.surrogate.covariance import Geometry
    from bayestuner.surrogate.gp import GaussianProcess

    space = Space(Integer("a", 1, 3), Categorical("b", ["x", "y"]))
    geometry = Geometry.of(space)
    gp = GaussianProcess(geometry)
    codes = space.codes([0, 3])
    gp.fit(codes, np.array([-1.0, 1.0]), np.ones(2), np.zeros(2))
    yield "fit"
    gp.predict(codes)
    yield "predict"
    gp.extend(codes[0], 0.0, 1.0)
    yield "extend"
    packed = Packed.of([gp, gp], geometry.d, geometry.levels.size)
    scorer = Scorer(space, geometry.level_starts, geometry.kinds)
    exclusions = np.zeros(space.n_rows, dtype=np.bool_)
    scorer.best(EXPECTED_IMPROVEMENT, packed, [ModelBound(1, 1.0, 0.0)], exclusions, objective=0)
    yield "score"
