"""Whole test runs whose meter fails in the middle: a failed run that says why, nothing left of it, and the next run works.

The meter is the MSR one, its device a FUSE file system (tests/fuse_msr.py): real reads, synthetic energy.
"""

import errno
import threading
import time
from dataclasses import replace

import fuse_msr
import pytest
from energy_fakes import PACKAGE_INFO, PACKAGE_LIMIT, UNIT_ESU14, fake_roots, put_broadwell_ep

from bayestuner.measure.cgroup.spawn import extension_is_built
from bayestuner.measure.energy.msr import open_msr
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Failed, Measured

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(fuse_msr.why_not() is not None, reason=f"a FUSE file system {fuse_msr.why_not()}"),
]

PACKAGE, DRAM = 0x611, 0x619
PER_S = 100.0 * 2**14


@pytest.fixture
def device(tmp_path):
    """Two sockets at 100 W each, their DRAM at 10 W."""
    registers = {0x606: UNIT_ESU14, 0x610: PACKAGE_LIMIT, 0x614: PACKAGE_INFO}
    with fuse_msr.FuseMsr(tmp_path / "fuse", {0: registers, 1: registers}) as made:
        for cpu in (0, 1):
            made.move(cpu, PACKAGE, start=5, per_s=PER_S)
            made.move(cpu, DRAM, start=5, per_s=10 / 15.3e-6)
        yield made


@pytest.fixture
def runner(make_job, isolation, device, tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    meter = open_msr(replace(roots, devcpu=device.devcpu, msr_stride=1))
    job = make_job("spin_job.py", "2", min_seconds=4.0, max_seconds=9.0)  # the fault comes long before the end
    with Runner(job, meter=meter, isolation=isolation) as made:
        yield made


def run_with(runner, fault):
    """A run during which `fault` happens."""

    def later():
        time.sleep(0.8)
        fault()

    thread = threading.Thread(target=later)
    thread.start()
    try:
        return runner.run(runner.job.all_max_config())
    finally:
        thread.join()


FAULTS = {
    "eio on one socket": (lambda device: device.fail(1, PACKAGE, errno.EIO), "EIO"),
    "disappears": (lambda device: device.disappear(), "could not be read any more"),
    "freezes": (lambda device: device.freeze(0, PACKAGE), "stood still"),
    "is reset": (lambda device: device.move(0, PACKAGE, start=0x7000_0000, per_s=PER_S), "was reset"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_whose_meter_fails_is_transient_and_says_why(runner, device, fault):
    happen, words = FAULTS[fault]
    record = run_with(runner, lambda: happen(device))
    assert isinstance(record.outcome, Failed), record.outcome
    assert record.outcome.kind == "transient"
    assert words in record.outcome.message
    assert record.details["power_source"] == "msr"


def test_a_run_after_a_fault_of_one_socket_is_measured_again(runner, device):
    assert isinstance(run_with(runner, lambda: device.fail(1, DRAM, errno.EIO)).outcome, Failed)
    device.move(1, DRAM, start=77, per_s=10 / 15.3e-6)
    again = runner.run(runner.job.all_max_config())
    assert isinstance(again.outcome, Measured), again.outcome
    (recording,) = again.details["recordings"]
    assert recording["native"] is extension_is_built()
    assert recording["lost"] == 0
    assert recording["cpu"] not in again.details["cpus"]
    assert again.outcome.values["power_w"] == pytest.approx(220, rel=0.03)
