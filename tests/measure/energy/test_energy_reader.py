"""Both ways of reading give the same counts, stamps and errors."""

import os
import threading
import time

import pytest

from bayestuner.measure.energy.reader import Source, SourceKind, best_reader, native_reader, plain_reader

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def opened(tmp_path):
    """Opens files with given bytes; closes them afterwards."""
    fds = []

    def make(content):
        path = tmp_path / f"file{len(fds)}"
        path.write_bytes(content)
        fds.append(os.open(path, os.O_RDONLY))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)


def test_counts_and_stamps(opened):
    registers = bytes(16) + (2**64 - 3).to_bytes(8, "little")
    reader = best_reader(
        [Source(opened(b"262143328850\n"), SourceKind.TEXT, "text"), Source(opened(registers), SourceKind.MSR, "register", offset=16)]
    )
    before = time.monotonic_ns()
    reading = reader()
    after = time.monotonic_ns()
    assert reading.counts == (262143328850, 2**64 - 3)
    assert before <= reading.before_ns <= reading.after_ns <= after


@pytest.mark.parametrize("text", [b"", b"\n", b"-5\n", b"1e3\n", b"0x10\n", b" 7\n"])
def test_text_that_is_no_count(opened, text):
    with pytest.raises(OSError, match="energy_uj") as caught:
        best_reader([Source(opened(text), SourceKind.TEXT, "energy_uj")])()
    assert caught.value.errno == 22


@pytest.mark.parametrize("size", [0, 1, 7])
def test_fewer_than_eight_bytes_are_an_error(opened, size):
    good = Source(opened(b"1\n"), SourceKind.TEXT, "good")
    with pytest.raises(OSError, match="short") as caught:
        best_reader([good, Source(opened(bytes(size)), SourceKind.MSR, "short")])()
    assert caught.value.errno == 5


def test_a_closed_descriptor_is_the_kernels_error(opened):
    fd = opened(b"1\n")
    spare = os.dup(fd)
    reader = best_reader([Source(spare, SourceKind.TEXT, "gone")])
    os.close(spare)
    with pytest.raises(OSError, match="Bad file descriptor"):
        reader()


def test_several_threads_may_read_at_once(opened):
    sources = [Source(opened(b"%d\n" % n), SourceKind.TEXT, str(n)) for n in range(8)]
    reader, wrong = best_reader(sources), []

    def work():
        wrong.extend(reading for reading in (reader().counts for _ in range(500)) if reading != tuple(range(8)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_way_is_the_one_asked_for(way, opened):
    source = [Source(opened(b"1\n"), SourceKind.TEXT, "one")]
    assert plain_reader(source)().counts == (1,)
    if way == "python":
        with pytest.raises(ImportError):
            native_reader(source)
    else:
        assert native_reader(source)().counts == (1,)
