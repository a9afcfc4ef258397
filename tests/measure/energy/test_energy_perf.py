"""The perf meter through the real kernel: a fake PMU folder whose ``type`` is that of software events, so that real events are opened.

cpu-clock (config 0 of type 1) counts the nanoseconds of one CPU; read as joules by a scale of 1e-9 it is 1 W. The way through the
extension and the kernel is real, the energy is not. No RAPL PMU exists on the machines these tests were written on.
"""

import errno
import os
import sys
import time

import pytest
from energy_fakes import EPYC_ZEN4, put, put_broadwell_ep, put_cpus, refusal_as_nobody

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.kernel_files import KernelRoots, read_int
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.perf import MAX_INTERVAL_S, event_config, open_perf

native = pytest.importorskip("bayestuner._native", exc_type=ImportError, reason="perf needs the C extension")

CPU_CLOCK, DUMMY = "event=0x00", "event=0x09"  # PERF_COUNT_SW_DUMMY never counts


def may_open_system_wide():
    fd = native.ffi.new("int *")
    status = native.lib.bt_perf_open(1, 0, min(os.sched_getaffinity(0)), fd)
    if status == 0:
        os.close(fd[0])
    return status == 0


real_events = pytest.mark.skipif(not may_open_system_wide(), reason="needs CAP_PERFMON or kernel.perf_event_paranoid <= 0")


def put_pmu(roots, *, pmu_type="1", cpumask="0", package=CPU_CLOCK, dram=None, scale="1.0e-9"):
    pmu = roots.sys_path("bus/event_source/devices/power")
    put(pmu / "type", pmu_type)
    put(pmu / "cpumask", cpumask)
    put(pmu / "format/event", "config:0-7")
    for name, event in {"energy-pkg": package, "energy-ram": dram, "energy-psys": CPU_CLOCK, "energy-cores": CPU_CLOCK}.items():
        if event is not None:
            put(pmu / "events" / name, event)
            put(pmu / "events" / f"{name}.scale", scale)
            put(pmu / "events" / f"{name}.unit", "Joules")
    return pmu


def refusal(roots):
    with pytest.raises(Refused) as caught:
        open_perf(roots)
    return caught.value.refusal


@real_events
def test_counts_of_the_real_kernel(roots):
    put_broadwell_ep(roots)
    put_pmu(roots, dram=CPU_CLOCK)
    meter = open_perf(roots)
    assert (meter.source, meter.estimated, meter.boundary) == ("perf", False, "pkg+dram")
    assert meter.domains == ("package-0", "dram-0")
    assert meter.max_interval_s == MAX_INTERVAL_S
    first = meter.read()
    time.sleep(0.3)
    last = meter.read()
    seconds = (last.stamp_ns - first.stamp_ns) / 1e9
    # 1 W in each of two domains; wide, since the clock of a busy virtual CPU may lose time to the host.
    assert meter.energy_j(first, last) == pytest.approx(2 * seconds, rel=0.3)
    meter.close()
    meter.close()
    with pytest.raises(MeterFault, match="closed"):
        meter.read()


@real_events
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_one_event_per_package_named_by_it(roots):
    put_broadwell_ep(roots)
    put_pmu(roots, cpumask="0-1")
    meter = open_perf(roots)
    assert (meter.domains, meter.boundary) == (("package-0", "package-1"), "pkg")
    meter.close()


@real_events
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_chiplets_of_one_amd_package_are_counted_once(roots):
    put_cpus(roots, EPYC_ZEN4, {0: (0, 0), 1: (0, 1)})
    put_pmu(roots, cpumask="0,1")  # what kernels 6.9 to 6.12 say there
    meter = open_perf(roots)
    assert meter.domains == ("package-0",)
    meter.close()


@real_events
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_dies_of_one_intel_package_are_two_domains(roots):
    put_cpus(roots, ("GenuineIntel", 6, 0x55, "Xeon"), {0: (0, 0), 1: (0, 1)})
    put_pmu(roots, cpumask="0,1")
    meter = open_perf(roots)
    assert meter.domains == ("package-0-die-0", "package-0-die-1")
    meter.close()


@real_events
def test_a_dead_counter_is_refused(roots):
    put_broadwell_ep(roots)
    put_pmu(roots, package=DUMMY)
    assert "package-0 did not move within" in refusal(roots).reason


@real_events
def test_dead_dram_is_left_out(roots):
    put_broadwell_ep(roots)
    put_pmu(roots, dram=DUMMY)
    meter = open_perf(roots)
    assert (meter.boundary, meter.notes) == ("pkg", ("DRAM is left out of the total: dram-0 does not count",))
    meter.close()


@real_events
def test_an_interval_over_the_kernels_own_wrap_is_refused(roots):
    put_broadwell_ep(roots)
    put_pmu(roots)
    meter = open_perf(roots)
    first = meter.read()
    late = EnergySample(first.stamp_ns + int(31e9), 0, (first.raw_counts[0] + 10**9,))
    with pytest.raises(MeterFault, match=r"31\.0 s lie between two readings"):
        meter.energy_j(first, late)
    meter.close()


@real_events
def test_a_count_that_falls_is_a_reset(roots):
    put_broadwell_ep(roots)
    put_pmu(roots)
    meter = open_perf(roots)
    first = meter.read()
    with pytest.raises(MeterFault, match="reset"):
        meter.energy_j(first, EnergySample(first.stamp_ns + 10**9, 0, (first.raw_counts[0] - 5,)))
    meter.close()


@pytest.mark.parametrize(
    ("event", "layout", "expected"),
    [("event=0x02", "config:0-7", 2), ("event=3", "config:0-7", 3), ("event=0x1", "config:8-15", 256), ("event=1", "config:4", 16)],
)
def test_event_config(event, layout, expected):
    assert event_config(event, layout) == expected


@pytest.mark.parametrize(
    ("event", "layout"), [("umask=1", "config:0-7"), ("event=0x100", "config:0-7"), ("event=1", "config1:0-7"), ("", "")]
)
def test_event_config_of_something_else(event, layout):
    with pytest.raises(ValueError, match=r"event|format"):
        event_config(event, layout)


def test_no_pmu(roots):
    put_broadwell_ep(roots)
    refused = refusal(roots)
    assert refused.reason.endswith("devices/power does not exist")
    assert refused.remedy == "load the driver: sudo modprobe rapl"


def test_a_pmu_without_events(roots):
    """Seen under QEMU: the driver registers its PMU although every counter reads zero."""
    put_broadwell_ep(roots, virtual=True)
    put_pmu(roots, package=None)
    refused = refusal(roots)
    assert "has no event energy-pkg" in refused.reason
    assert "virtual machine" in refused.remedy


@pytest.mark.parametrize(("cpumask", "reason"), [("", "names no CPU"), ("none", "is no list of CPUs")])
def test_a_bad_cpumask(roots, cpumask, reason):
    put_broadwell_ep(roots)
    put_pmu(roots, cpumask=cpumask)
    assert reason in refusal(roots).reason


@pytest.mark.parametrize("scale", ["", "x", "0", "-1"])
def test_a_bad_scale(roots, scale):
    put_broadwell_ep(roots)
    put_pmu(roots, scale=scale)
    assert "events/energy-pkg can't be understood" in refusal(roots).reason


@real_events
def test_an_unknown_pmu_type_is_the_kernels_enoent(roots):
    put_broadwell_ep(roots)
    put_pmu(roots, pmu_type="9999")
    assert f"energy-pkg can't be opened on CPU 0: {errno.errorcode[errno.ENOENT]}" in refusal(roots).reason


def test_without_the_extension(roots, monkeypatch):
    put_broadwell_ep(roots)
    put_pmu(roots)
    monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    refused = refusal(roots)
    assert "can only be opened by the C extension" in refused.reason
    assert "compiler" in refused.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.skipif((read_int(KernelRoots().proc_path("sys/kernel/perf_event_paranoid")) or 0) < 1, reason="this kernel lets everybody")
def test_without_permission_the_remedy_is_a_command(public_roots):
    put_broadwell_ep(public_roots)
    put_pmu(public_roots)
    reason, remedy = refusal_as_nobody("perf", public_roots)
    assert "energy-pkg can't be opened on CPU 0: EACCES" in reason
    assert remedy.startswith("sudo sysctl kernel.perf_event_paranoid=0 (until the next boot), or run as root")
    assert "setcap" not in remedy  # on an interpreter it would give the capability to every user of the machine
