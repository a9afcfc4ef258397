"""Stop signals inside this very process: raised once, held back while it is cleaned up, never lost."""

import contextlib
import os
import signal
import time

import pytest

from bayestuner.cli.signals import Stopped, stop_signals

PATIENCE_S = 30.0


def wait_in_python():
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def handlers_are_put_back():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = [signal.getsignal(n) for n in numbers]
    yield
    assert [signal.getsignal(n) for n in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_is_raised(number):
    with pytest.raises(Stopped) as stopped, stop_signals():
        os.kill(os.getpid(), number)
        wait_in_python()
    assert stopped.value.signum == number


def swallow(number):
    """What the import of a module written in Cython does to whatever is raised in it."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(number)


def test_an_exception_that_somebody_swallowed_is_raised_again():
    with pytest.raises(Stopped) as stopped, stop_signals():
        swallow(signal.SIGTERM)
        wait_in_python()
    assert stopped.value.signum == signal.SIGTERM


def test_another_signal_after_a_swallowed_one_is_not_ignored():
    with pytest.raises(Stopped), stop_signals():
        swallow(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)


def test_cleaning_up_is_not_interrupted_however_long_it_takes():
    cleaned = []
    with pytest.raises(Stopped) as stopped, stop_signals():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            for _ in range(80):  # four times as long as it is looked after
                time.sleep(0.01)
                signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)
    assert cleaned == [True]
    assert stopped.value.signum == signal.SIGINT


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
