"""Regular expressions of a job file, searched in what a job prints: neither a bad pattern nor a hostile line may stop the run's clock.

Python's expressions backtrack: some patterns take exponential time on some lines. Three bounds hold. Lines are cut before they come here.
All searches of a run together may take `FREE_S` seconds of CPU time and `SHARE` of the run so far. And in the main thread (where
`tune` works) a timer of the kernel ends a search that goes beyond that; in another thread no search can be ended: only the first two hold.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

FREE_S = 1.0
SHARE = 0.1
_LEAST_S = 0.02


class SearchTooLong(Exception):
    """The searches of a run have taken more CPU time than they may."""


class BoundedSearch:
    """Searches of one run; used by one thread."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._used_s = 0.0

    @contextmanager
    def session(self) -> Iterator[None]:
        """Lend the process's CPU timer to the searches made inside, and give it back."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGVTALRM, _end_search)
        try:
            yield
        finally:
            signal.signal(signal.SIGVTALRM, before)

    def search(self, pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
        """``pattern.search(text)`` inside a `session`.

        Raises
        ------
        SearchTooLong
        """
        allowed_s = FREE_S + SHARE * (time.monotonic() - self._began_s) - self._used_s
        if allowed_s <= 0:
            raise SearchTooLong
        began_s = time.thread_time()
        try:
            if threading.current_thread() is not threading.main_thread():
                return pattern.search(text)
            signal.setitimer(signal.ITIMER_VIRTUAL, max(allowed_s, _LEAST_S))
            try:
                return pattern.search(text)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        finally:
            self._used_s += time.thread_time() - began_s


def _end_search(signum: int, frame: FrameType | None) -> None:
    raise SearchTooLong
