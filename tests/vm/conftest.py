"""Tests that need the guest: elsewhere they are deselected, by name of what runs them."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def guest_name():
    """The guest's name from its kernel's command line; None anywhere else."""
    words = Path("/proc/cmdline").read_text().split()
    return next((word.partition("=")[2] for word in words if word.startswith("bayestuner.guest=")), None)


def pytest_collection_modifyitems(config, items):
    if guest_name() is not None:
        return
    elsewhere = [item for item in items if item.get_closest_marker("vm") and HERE in item.path.parents]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def pytest_report_header():
    if guest_name() is None:
        return "the tests in tests/vm that are marked vm run in a guest: make test-vm"
    return f"guest {guest_name()}: real drivers and kernel interfaces, synthetic energy"


@pytest.fixture
def drivers():
    """Drivers over running counters."""
    from vm.injector import Drivers

    with Drivers("") as drivers:
        yield drivers


@pytest.fixture
def opened():
    """``opened(source)``: a meter that is closed in the end."""
    from bayestuner.measure.energy.kernel_files import KernelRoots
    from bayestuner.measure.energy.select import OPENERS

    meters = []

    def make(source):
        meters.append(OPENERS[source](KernelRoots()))
        return meters[-1]

    yield make
    for meter in meters:
        meter.close()
