"""Which meter is taken, and what is said about those that aren't."""

import os
import shutil
from pathlib import Path

import pytest
from energy_fakes import SERVER_REGISTERS, MsrFile, PowercapTree, moving_msr, moving_text, put, put_broadwell_ep, put_two_socket_powercap

from bayestuner.errors import MeterUnavailable
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.select import open_meter

ALL = ("perf", "powercap", "msr")


def put_msr(roots):
    return MsrFile(roots, 0, SERVER_REGISTERS), MsrFile(roots, 1, SERVER_REGISTERS)


def test_the_first_that_works_is_taken_and_the_refused_are_told(roots):
    put_broadwell_ep(roots)
    PowercapTree(roots)
    one, two = put_msr(roots)
    with moving_msr({"a": (one, 0x611), "b": (two, 0x611), "c": (one, 0x619), "d": (two, 0x619)}):
        meter, refused = open_meter(ALL, roots=roots)
    assert meter.source == "msr"
    assert [r.what for r in refused] == ["perf", "powercap"]
    assert all(r.reason and r.remedy for r in refused)
    meter.close()


def test_the_order_is_the_callers(roots):
    put_broadwell_ep(roots)
    one, two = put_msr(roots)
    counters = {"a": (one, 0x611), "b": (two, 0x611), "c": (one, 0x619), "d": (two, 0x619)}
    with moving_text(put_two_socket_powercap(roots)), moving_msr(counters):
        for order in (["msr", "powercap"], ["powercap", "msr"]):
            meter, refused = open_meter(order, roots=roots)
            assert (meter.source, refused) == (order[0], ())
            meter.close()


def test_the_least_privileged_that_works_is_taken_and_opened_once(roots):
    """All three work here; perf needs a capability, powercap a readable file, MSR both a file and CAP_SYS_RAWIO."""
    put_broadwell_ep(roots)
    pmu = roots.sys_path("bus/event_source/devices/power")
    put(pmu / "type", "1")  # software events of the real kernel
    put(pmu / "cpumask", "0")
    put(pmu / "format/event", "config:0-7")
    put(pmu / "events/energy-pkg", "event=0x00")
    put(pmu / "events/energy-pkg.scale", "1.0e-9")
    one, two = put_msr(roots)
    counters = {"a": (one, 0x611), "b": (two, 0x611), "c": (one, 0x619), "d": (two, 0x619)}
    with moving_text(put_two_socket_powercap(roots)), moving_msr(counters):
        for expected, domains in (("perf", 1), ("powercap", 4), ("msr", 4)):
            before = descriptors()
            meter, refused = open_meter(roots=roots)
            if expected == "perf" and meter.source != "perf":
                pytest.skip(f"no perf events here: {refused[0].reason}")
            assert meter.source == expected
            opened = descriptors() - before
            assert len(opened) == (2 if expected == "msr" else domains)  # a device of each socket holds two registers
            for _ in range(3):
                meter.read()
            assert descriptors() - before == opened
            meter.close()
            assert descriptors() == before
            shutil.rmtree(roots.sys_path("bus" if expected == "perf" else "class"), ignore_errors=True)


def descriptors():
    """What this process has open, without the folder that is being listed."""
    found = {(path.name, str(path.readlink())) for path in Path("/proc/self/fd").iterdir() if os.path.lexists(path)}
    return {(number, target) for number, target in found if not target.endswith("/fd")}


def test_the_estimate_is_never_taken_unasked(roots):
    put_broadwell_ep(roots)
    put(roots.proc_path("stat"), "cpu 1 2 3 4\ncpu0 1 2 3 4")
    with pytest.raises(MeterUnavailable):
        open_meter(ALL, roots=roots)
    meter, refused = open_meter((*ALL, "model"), roots=roots)
    assert (meter.source, meter.estimated, len(refused)) == ("model", True, 3)
    meter.close()


def test_every_refusal_stands_in_the_error(roots):
    put_broadwell_ep(roots)
    with pytest.raises(MeterUnavailable) as caught:
        open_meter(ALL, roots=roots)
    message = str(caught.value)
    for part in ("perf: ", "sudo modprobe rapl", "powercap: ", "sudo modprobe intel_rapl_msr", "msr: ", "sudo modprobe msr", "doctor"):
        assert part in message


def test_a_remedy_that_all_share_is_said_once(roots):
    put_broadwell_ep(roots, virtual=True)
    with pytest.raises(MeterUnavailable) as caught:
        open_meter(ALL, roots=roots)
    assert str(caught.value).count("virtual machine") == 1


@pytest.mark.parametrize(
    ("order", "message"), [([], "empty"), (["wattmeter"], "called 'wattmeter'; the meters are perf, powercap, msr, model")]
)
def test_lists_that_make_no_sense(roots, order, message):
    with pytest.raises(MeterUnavailable, match=message):
        open_meter(order, roots=roots)


def test_on_this_machine():
    """For real: either a meter that reads rising energy, or a reason for each source."""
    try:
        meter, _ = open_meter(ALL)
    except MeterUnavailable as error:
        assert all(f"{source}: " in str(error) for source in ALL)
        meter, refused = open_meter((*ALL, "model"), roots=KernelRoots())
        assert [r.what for r in refused] == list(ALL)
        assert meter.estimated
    first = meter.read()
    last = meter.read()
    assert last.stamp_ns >= first.stamp_ns
    assert len(last.raw_counts) == len(meter.domains)
    meter.close()
