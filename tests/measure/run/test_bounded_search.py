"""No pattern and no line may hold up a run."""

import re
import signal
import threading
import time

import pytest

from bayestuner.measure.run.bounded_search import FREE_S, SHARE, BoundedSearch, SearchTooLong
from bayestuner.measure.run.output_reports import OutputReports

HOPELESS = r"(?:a+)+b (?P<rate>\d+)"


def test_a_search_without_end_is_ended():
    bounded = BoundedSearch()
    began = time.thread_time()
    with bounded.session(), pytest.raises(SearchTooLong):
        bounded.search(re.compile(HOPELESS), "a" * 60)
    assert time.thread_time() - began < 2 * FREE_S


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
    assert ended[0] < 3 * FREE_S


def test_a_hostile_line_ends_the_run_in_one_sentence():
    reports = OutputReports(0, HOPELESS)
    began = time.thread_time()
    reports.feed(b"aaab 5\n" + b"a" * 5000 + b"\n" + b"aaab 6\n", 10**9)
    reports.feed(b"a" * 5000 + b"\n", 2 * 10**9)
    assert time.thread_time() - began < 2 * FREE_S
    assert "regular expressions take too long on the job's output, at last on the line 'aaaa" in reports.unusable
    assert (reports.ready_ns, len(reports.stamps_ns)) == (10**9, 0)


def test_the_share_is_small():
    assert 0 < SHARE <= 0.1
