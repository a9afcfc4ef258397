"""No pattern and no line may hold up a run."""

import re
import signal
import threading
import time

import pytest

from bayestuner.measure.run import bounded_search
from bayestuner.measure.run.bounded_search import BoundedSearch, SearchTooLong
from bayestuner.measure.run.output_reports import OutputReports

HOPELESS = r"(?:a+)+b (?P<rate>\d+)"
MOST_S = 1.0
"""CPU time that a hopeless search may take in these tests, where 0.1 s are free; by itself it would take years."""


@pytest.fixture(autouse=True)
def little_is_free(monkeypatch):
    assert (bounded_search.FREE_S, bounded_search.SHARE) == (1.0, 0.1)
    monkeypatch.setattr(bounded_search, "FREE_S", 0.1)


def test_a_search_without_end_is_ended():
    bounded = BoundedSearch()
    began = time.thread_time()
    with bounded.session(), pytest.raises(SearchTooLong):
        bounded.search(re.compile(HOPELESS), "a" * 60)
    assert time.thread_time() - began < MOST_S


def test_ordinary_searches_are_left_alone():
    bounded = BoundedSearch()
    before = signal.getsignal(signal.SIGVTALRM)
    with bounded.session():
        assert bounded.search(re.compile(r"(\d+)"), "rate 12")[1] == "12"
        assert bounded.search(re.compile(r"(\d+)"), "none") is None
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_in_another_thread_the_sum_is_bounded():
    """Each search takes a few milliseconds; without a bound all of them would take a minute."""
    ended = []

    def search():
        bounded = BoundedSearch()
        with bounded.session():
            for _ in range(30_000):
                try:
                    bounded.search(re.compile(r"x*x*x*y"), "x" * 250)
                except SearchTooLong:
                    ended.append(time.thread_time())
                    return

    thread = threading.Thread(target=search)
    thread.start()
    thread.join(60)
    assert len(ended) == 1
    assert ended[0] < MOST_S


def test_a_hostile_line_ends_the_run_in_one_sentence():
    reports = OutputReports(0, HOPELESS)
    began = time.thread_time()
    reports.feed(b"aaab 5\n" + b"a" * 5000 + b"\n" + b"aaab 6\n", 10**9)
    reports.feed(b"a" * 5000 + b"\n", 2 * 10**9)
    assert time.thread_time() - began < MOST_S
    assert "regular expressions take too long on the job's output, at last on the line 'aaaa" in reports.unusable
    assert (reports.ready_ns, len(reports.stamps_ns)) == (10**9, 0)
