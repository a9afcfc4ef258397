"""Waiting in tests: long enough for a loaded machine, never a fixed sleep."""

import os
import select
import time

PATIENCE_S = 120.0


def wait_for(condition):
    """Until `condition()` is true; fails the test where it never gets so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def ended(held):
    """Whether the process behind a pidfd ends while we wait; closes the pidfd."""
    waiting = select.poll()
    waiting.register(held, select.POLLIN)
    try:
        return bool(waiting.poll(PATIENCE_S * 1000))
    finally:
        os.close(held)
