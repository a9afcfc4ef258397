"""What a job writes, whole, torn and wrong."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.measure.run.protocol import MAX_LINE_BYTES, PipeReports

NOW = 10**12


def read(*chunks, start_ns=0, now_ns=NOW):
    reports = PipeReports(start_ns)
    for chunk in chunks:
        reports.feed(chunk, now_ns)
    return reports


def test_ready_and_done():
    reports = read(b"ready 100\ndone 4 200\ndone 8 300\n")
    assert (reports.ready_ns, list(reports.stamps_ns), list(reports.items)) == (100, [200, 300], [4.0, 8.0])
    assert reports.faults == 0


def test_a_batch_may_say_its_latency():
    reports = read(b"ready 100\ndone 4 200 250000000\ndone 8 300\n")
    assert reports.faults == 0
    assert reports.latencies_s[0] == 0.25
    assert np.isnan(reports.latencies_s[1])


@given(st.lists(st.integers(1, 60), max_size=30))
def test_lines_may_come_in_any_pieces(cuts):
    text = b"ready 100\n" + b"".join(b"done 4 %d\n" % (200 + i) for i in range(20))
    reports = PipeReports(0)
    at = 0
    for cut in cuts:
        reports.feed(text[at : at + cut], NOW)
        at += cut
    reports.feed(text[at:], NOW)
    assert len(reports.stamps_ns) == 20
    assert reports.faults == 0


def test_a_last_line_without_newline_counts_at_the_end():
    reports = read(b"ready 100\ndone 4 200")
    assert len(reports.stamps_ns) == 0
    reports.finish()
    assert list(reports.stamps_ns) == [200]


def test_half_a_line_at_the_end_is_a_fault():
    reports = read(b"ready 100\ndone 4")
    reports.finish()
    assert reports.faults == 1
    reports.finish()
    assert reports.faults == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"hello world", "none of"),
        (b"done 4", "none of"),
        (b"done four 300", "not a number"),
        (b"done 4 3e2", "not a number"),
        (b"done 4 -300", "not a number"),
        (b"done 4 99999999999999999999999", "not a number"),
        (b"done 4 300 1.5", "not a number"),
        (b"done 4 300 -1", "not a number"),
        (b"done 4 300 5 6", "none of"),
        (b"done 0 300", "above 0"),
        (b"done -3 300", "above 0"),
        (b"done nan 300", "above 0"),
        (b"done inf 300", "above 0"),
        (b"done 1e300 300", "more than 1e+09 items"),
        (b"done 4 150", "backwards"),
        (b"done 4 50", "before the job was started"),
        (b"done 4 %d" % (NOW + 10**9), "future"),
        (b"ready 300", "second time"),
        (b"\xff\xfe\x00", "none of"),
        (b"x" * (MAX_LINE_BYTES + 1), "longer than"),
    ],
)
def test_a_wrong_line_is_counted_kept_and_harmless(line, why):
    reports = read(b"ready 100\ndone 4 200\n", line, b"\ndone 4 400\n", start_ns=80)
    assert reports.faults == 1
    assert why in reports.first_fault
    assert list(reports.stamps_ns) == [200, 400]


def test_an_endless_line_is_not_kept():
    reports = PipeReports(0)
    for _ in range(100):
        reports.feed(b"x" * 65536, NOW)
    assert reports.faults == 1
    assert sys.getsizeof(reports._lines._begun) < 1000
    reports.feed(b"tail\nready 5\n", NOW)
    assert reports.ready_ns == 5


def test_done_before_ready_was_start_up():
    reports = read(b"done 4 200\ndone 4 300\n")
    assert (reports.ready_ns, list(reports.stamps_ns)) == (200, [300])


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data):
    reports = read(data, b"\nready 7\ndone 1 8\n")
    reports.finish()
    assert len(reports.stamps_ns) == len(reports.items) == len(reports.latencies_s)
