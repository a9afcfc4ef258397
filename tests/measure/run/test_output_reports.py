"""Programs that know nothing of us, read by their output: every stream, every line end, numbers of any locale, rates of 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.measure.run.output_reports import MAX_SEARCHED_BYTES, OutputReports
from bayestuner.measure.run.steady import find_window

S = 10**9
RATE = r"(?P<rate>[\d.,]+) ?(?:it|img)/s"


def read(lines, pattern=RATE, *, ready=None, mark=None, every_ns=S // 10, errors=False):
    """Feed pieces, one every tenth of a second."""
    reports = OutputReports(0, pattern, ready, mark)
    now_ns = S
    for piece in lines:
        (reports.feed_errors if errors else reports.feed)(piece, now_ns)
        now_ns += every_ns
    reports.finish()
    return reports


def test_by_items():
    reports = OutputReports(0, r"batch of (\d+) done")
    for ns, line in [(100, b"loading\n"), (200, b"batch of 8 done\n"), (300, b"batch of 8 done\nnoise\n"), (400, b"batch of 4 done\n")]:
        reports.feed(line, ns)
    assert (reports.ready_ns, list(reports.stamps_ns), list(reports.items)) == (200, [300, 400], [8.0, 4.0])


def test_by_rate_and_ready():
    reports = OutputReports(0, r"(?P<rate>[\d.,]+) images/s", r"model loaded")
    reports.feed(b"0.0 images/s\nmodel loaded\n", S)
    reports.feed(b"50.0 images/s\n", 2 * S)
    reports.feed(b"1,000.0 images/s\n", 4 * S)
    assert reports.ready_ns == S
    assert list(reports.items) == [50.0, 2000.0]


def test_what_catches_no_number_is_counted():
    reports = read([b"speed slow\nspeed 3\n", b"speed 4\n"], r"speed (\w+)")
    assert reports.faults == 1
    assert "catches no number" in reports.first_fault
    assert len(reports.stamps_ns) == 1


BARS = [b"\r 10%%|##  | %d/100 [00:01<00:09, %d.5it/s]" % (k, 40 + k % 3) for k in range(1, 41)]


@pytest.mark.parametrize(
    "bars",
    [
        BARS,
        [bar[1:] + b"\r" for bar in BARS],
        [bar[1:] + b"\n" for bar in BARS],
        [bar[1:] + b"\r\n" for bar in BARS],
        [b"\x1b[2K\x1b[1G" + bar[1:] + b"\n" for bar in BARS],
    ],
)
@pytest.mark.parametrize("errors", [False, True], ids=["stdout", "stderr"])
def test_progress_bars_are_read_on_either_stream(bars, errors):
    reports = read(bars, errors=errors)
    assert len(reports.stamps_ns) == 39
    assert find_window(reports.stamps_ns, reports.items).throughput.mean == pytest.approx(41.5, rel=0.02)


def test_a_bar_counts_from_when_it_was_drawn():
    """Its line ends only when the next bar is drawn, and the last one's never."""
    reports = OutputReports(0, RATE)
    for k in range(1, 6):
        reports.feed(b"\r8 it/s", k * S)
    reports.finish()
    assert reports.ready_ns == S
    assert list(reports.stamps_ns) == [2 * S, 3 * S, 4 * S, 5 * S]
    assert list(reports.items) == [8.0] * 4


def test_colours_are_no_part_of_the_text():
    reports = read([b"\x1b[1mspeed:\x1b[0m \x1b[32m12.5\x1b[0m img/s\n"] * 3, r"speed: (?P<rate>[\d.]+) img/s")
    assert list(reports.items) == pytest.approx([1.25, 1.25])


def test_a_program_that_logs_to_both_streams_counts_once():
    reports = OutputReports(0, r"did (\d+)")
    for k in range(1, 11):
        reports.feed(b"did 4\n", k * S)
        reports.feed_errors(b"did 4\n", k * S + 1)
    assert list(reports.items) == [4.0] * 9


def test_ready_may_stand_on_the_other_stream():
    reports = OutputReports(0, r"did (\d+)", "listening")
    reports.feed(b"did 4\n", S)
    reports.feed_errors(b"listening\n", 2 * S)
    reports.feed(b"did 5\n", 3 * S)
    assert (reports.ready_ns, list(reports.items)) == (2 * S, [5.0])


def test_a_rate_of_zero_is_a_rate():
    """Nine times 100 and once 0 is 90; 0 at the very end counts as well."""
    lines = [b"%d img/s\n" % (0 if k % 10 == 9 else 100) for k in range(101)]
    reports = read(lines)
    assert reports.faults == 0
    window = find_window(reports.stamps_ns, reports.items)
    assert window.throughput.mean == pytest.approx(90.0, rel=0.03)
    assert sum(reports.items) / 10.0 == pytest.approx(90.0)

    halves = read([b"%d img/s\n" % (0 if k % 2 else 100) for k in range(101)])
    assert halves.faults == 0
    assert find_window(halves.stamps_ns, halves.items).throughput.mean == pytest.approx(50.0, rel=0.05)

    stalled = read([b"100 img/s\n"] * 41 + [b"0 img/s\n"] * 20)
    assert find_window(stalled.stamps_ns, stalled.items).throughput.mean < 100.0 * 40 / 59


def test_a_pace_that_is_zero_in_whole_blocks_is_measured_with_a_finite_error():
    lines = [b"%d img/s\n" % (0 if (k // 10) % 2 else 100) for k in range(401)]
    reports = read(lines)
    window = find_window(reports.stamps_ns, reports.items)
    assert window.throughput.mean == pytest.approx(50.0, rel=0.1)
    assert 0 < window.relative_error < 1.0


def test_zeros_before_the_first_number_are_start_up():
    reports = read([b"0.0 img/s\n"] * 5 + [b"100 img/s\n"] * 5)
    assert reports.ready_ns == S + 5 * S // 10
    assert list(reports.items) == pytest.approx([10.0] * 4)


def test_nothing_but_zeros_is_no_window_and_said():
    reports = read([b"0.0 img/s\n"] * 50)
    assert reports.ready_ns is None
    assert reports.why_not_ready() == "each of the 50 lines that throughput_regex finds in the job's output says 0"
    ready = read([b"go\n"] + [b"0.0 img/s\n"] * 50, ready="go")
    assert find_window(ready.stamps_ns, ready.items) is None


@pytest.mark.parametrize(("text", "rate"), [(b"12,5 img/s\n", 12.5), (b"1,234.5 img/s\n", 1234.5), (b"1.234,5 img/s\n", 1234.5)])
def test_a_decimal_comma_is_read(text, rate):
    assert list(read([text] * 3).items) == pytest.approx([rate / 10] * 2)


def test_a_number_of_two_meanings_fails_the_run_in_one_sentence():
    reports = read([b"speed 999.5 img/s\n", b"speed 1,234 img/s\n", b"speed 999.5 img/s\n"])
    assert reports.unusable == (
        "a number in the job's output has two meanings: '1,234' can be read as 1234 and as 1.234, in the line 'speed 1,234 img/s'; "
        'say which with decimal_mark = "." or "," under [job]'
    )
    assert list(read([b"1,234 img/s\n"] * 2, mark=".").items) == pytest.approx([123.4])
    assert list(read([b"1,234 img/s\n"] * 2, mark=",").items) == pytest.approx([0.1234])


def test_digits_of_other_scripts_are_no_numbers():
    reports = read(["\u0661\u0660\u0667\u0666 img/s\n".encode()] * 3, r"(\d+) img/s")
    assert (reports.faults, reports.ready_ns) == (3, None)


@pytest.mark.parametrize(
    ("lines", "ready", "words"),
    [
        (
            [b"qps=100.0\n"],
            None,
            r"throughput_regex '(?P<rate>[\\d.,]+) ?(?:it|img)/s' finds nothing in the lines of the job's output and errors",
        ),
        (
            [b"5 img/s\n"] * 3,
            "loaded",
            "ready_regex 'loaded' finds nothing in the lines of the job's output and errors, though throughput_regex finds something in 3",
        ),
        ([b"5 img/s"], None, "had no line end"),
        ([b", img/s\n"], None, "no line of the job's output gave a number (the first that should have: ', img/s'"),
    ],
)
def test_why_a_job_is_not_ready(lines, ready, words):
    assert words in read(lines, ready=ready).why_not_ready()


def test_only_the_beginning_of_a_long_line_is_searched():
    reports = read([b"x" * MAX_SEARCHED_BYTES + b"5 img/s\n", b"5 img/s" + b"x" * 10**6 + b"\n", b"6 img/s\n", b"7 img/s\n"])
    assert len(reports.items) == 2
    endless = OutputReports(0, RATE)
    for _ in range(100):
        endless.feed(b"9" * 65536, S)
    assert len(endless._lines["stdout"]._begun) <= MAX_SEARCHED_BYTES


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_no_bytes_break_it(pieces):
    reports = OutputReports(0, RATE)
    for k, piece in enumerate(pieces):
        reports.feed(piece, S + k)
        reports.feed_errors(piece, S + k)
    reports.finish()
    assert len(reports.stamps_ns) == len(reports.items) == len(reports.latencies_s)
    assert reports.why_not_ready().isprintable()
