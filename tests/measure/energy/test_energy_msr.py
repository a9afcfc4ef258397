"""The MSR meter over sparse files at stride 8 with moving counters (synthetic energy); errors as the kernel gives them where it can."""

import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest
from energy_fakes import (
    EPYC_ZEN4,
    SERVER_REGISTERS,
    SKYLAKE_CLIENT,
    UNIT_ESU14,
    Moving,
    MsrFile,
    moving_msr,
    put,
    put_broadwell_ep,
    put_cpus,
    refusal_as_nobody,
)

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.cpus import cpu_model
from bayestuner.measure.energy.meter import MeterFault
from bayestuner.measure.energy.msr import open_msr, package_cpus

W32 = 1 << 32


def seconds_later(sample, seconds):
    """The sample with a later stamp, so that exact counts can be given to an interval of known length."""
    return replace(sample, stamp_ns=sample.stamp_ns + int(seconds * 1e9))


def two_sockets(roots):
    put_broadwell_ep(roots)
    return MsrFile(roots, 0, SERVER_REGISTERS), MsrFile(roots, 1, SERVER_REGISTERS)


def all_four(one, two):
    return {"package-0": (one, 0x611), "dram-0": (one, 0x619), "package-1": (two, 0x611), "dram-1": (two, 0x619)}


@pytest.mark.usefixtures("way")
def test_the_papers_server_end_to_end(roots):
    one, two = two_sockets(roots)
    with moving_msr(all_four(one, two)):
        meter = open_msr(roots)
    assert (meter.source, meter.estimated, meter.boundary) == ("msr", False, "pkg+dram")
    assert meter.domains == ("package-0", "dram-0", "package-1", "dram-1")
    one[0x611], one[0x619], two[0x611], two[0x619] = 1000, 1000, W32 - 500_000, W32 - 10
    first = meter.read()
    one[0x611], one[0x619], two[0x611], two[0x619] = 1_001_000, 1_001_000, 500_000, 5
    one[0x639] = one[0x64D] = 12345  # core and psys move too, and are never added
    last = seconds_later(meter.read(), 10)
    # By hand: 10^6 * 61.03515625 uJ, 10^6 * 15.3 uJ, the same over a wrap, 15 * 15.3 uJ over a wrap.
    assert meter.domain_energies_j(first, last) == pytest.approx((61.03515625, 15.3, 61.03515625, 0.0002295), rel=1e-12)
    assert meter.energy_j(first, last) == pytest.approx(137.3705420, rel=1e-9)
    assert meter.notes == ("DRAM unit fixed at 15.3 uJ for Broadwell-EP (perf takes 15.2588 uJ)",)
    meter.close()
    meter.close()
    with pytest.raises(MeterFault, match="closed"):
        meter.read()


@pytest.mark.usefixtures("way")
def test_registers_one_apart_as_on_the_device(roots):
    """Stride 1, the device's own addressing: in a plain file only because 0x606, 0x611 and 0x619 happen not to overlap."""
    put_broadwell_ep(roots)
    device = replace(roots, msr_stride=1)
    fds = []
    for cpu in (0, 1):
        put(roots.msr_path(cpu), "")
        fds.append(os.open(roots.msr_path(cpu), os.O_RDWR))
        os.ftruncate(fds[-1], 0x700)
        os.pwrite(fds[-1], UNIT_ESU14.to_bytes(8, "little"), 0x606)

    def setter(fd, register):
        return lambda value: os.pwrite(fd, value.to_bytes(8, "little"), register)

    with Moving({f"{fd}-{register}": (setter(fd, register), 5, W32) for fd in fds for register in (0x611, 0x619)}):
        meter = open_msr(device)
    for fd in fds:
        os.pwrite(fd, (1000).to_bytes(8, "little"), 0x611)
        os.pwrite(fd, (2000).to_bytes(8, "little"), 0x619)
        os.close(fd)
    assert meter.read().raw_counts == (1000, 2000, 1000, 2000)
    meter.close()


def test_limits_of_the_part_bound_power_and_interval(roots):
    one, two = two_sockets(roots)
    with moving_msr(all_four(one, two)):
        meter = open_msr(roots)
    assert [counter.max_power_w for counter in meter.counters] == [261.0, 400.0, 261.0, 400.0]  # 1.5 * PL2 of 174 W; the stated cap
    assert meter.max_interval_s == pytest.approx(W32 * 15.3e-6 / 400 / 2)
    meter.close()


def test_reserved_upper_bits_are_masked(roots):
    one, two = two_sockets(roots)
    with moving_msr(all_four(one, two)):
        meter = open_msr(roots)
    one[0x611] = 0xDEAD_0000_0000_0010
    assert meter.read().raw_counts[0] == 0x10
    meter.close()


def test_a_counter_that_drops_to_zero_was_reset(roots):
    one, two = two_sockets(roots)
    with moving_msr(all_four(one, two)):
        meter = open_msr(roots)
    one[0x611], two[0x611] = 5000, 3_000_000_000
    first = meter.read()
    one[0x611], two[0x611] = 6000, 0
    with pytest.raises(MeterFault, match=r"package-1: went from 3000000000 to 0 .*reset"):
        meter.energy_j(first, seconds_later(meter.read(), 10))
    meter.close()


def test_amd_counts_packages_once_and_has_no_dram(roots):
    put_cpus(roots, EPYC_ZEN4, {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)})
    files = [MsrFile(roots, cpu, {0xC0010299: 0xA1003, 0xC001029A: 9, 0xC001029B: 5}) for cpu in (0, 2)]
    with moving_msr({"a": (files[0], 0xC001029B), "b": (files[1], 0xC001029B)}):
        meter = open_msr(roots)
    assert (meter.boundary, meter.domains, meter.notes) == ("pkg", ("package-0", "package-1"), ())
    files[0][0xC001029B], files[1][0xC001029B] = 0, W32 - 65536
    first = meter.read()
    files[0][0xC001029B], files[1][0xC001029B] = 65536, 65536
    assert meter.domain_energies_j(first, seconds_later(meter.read(), 1)) == pytest.approx((1.0, 2.0))
    meter.close()


def test_a_client_part_without_a_dram_register_is_measured_as_pkg(roots):
    put_cpus(roots, SKYLAKE_CLIENT, {0: (0, 0), 1: (0, 0)})
    file = MsrFile(roots, 0, {0x606: UNIT_ESU14, 0x611: 5})  # ends before 0x619: a short read, where the device says EIO
    with moving_msr({"package-0": (file, 0x611)}):
        meter = open_msr(roots)
    assert (meter.boundary, meter.domains, meter.notes) == ("pkg", ("package-0",), ())
    meter.close()


def test_energy_filtering_is_noted(roots):
    one, two = two_sockets(roots)
    one[0xBC] = 1
    with moving_msr(all_four(one, two)):
        meter = open_msr(roots)
    assert "energy filtering is on" in meter.notes[1]
    meter.close()


@pytest.mark.parametrize(
    ("part", "places", "expected"),
    [
        # Even CPUs on socket 0, odd on 1; die_id counts over the machine and means nothing here.
        (("GenuineIntel", 6, 0x4F, ""), {0: (0, 0), 1: (1, 1), 2: (0, 0), 3: (1, 1)}, {"0": 0, "1": 1}),
        # Cascade Lake-AP: two dies with counters of their own in each package.
        (
            ("GenuineIntel", 6, 0x55, ""),
            {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)},
            {"0-die-0": 0, "0-die-1": 1, "1-die-0": 2, "1-die-1": 3},
        ),
        (("GenuineIntel", 6, 0x55, ""), {0: (0, 0), 1: (1, 0)}, {"0": 0, "1": 1}),
        (("AuthenticAMD", 0x19, 0x11, ""), {4: (0, 0), 5: (0, 1)}, {"0": 4}),
    ],
)
def test_one_cpu_per_counter(roots, part, places, expected):
    put_cpus(roots, part, places)
    assert package_cpus(roots, cpu_model(roots)) == expected


def test_offline_cpus_are_passed_over(roots):
    put_broadwell_ep(roots)
    put(roots.sys_path("devices/system/cpu/cpu0/online"), "0")
    assert package_cpus(roots, cpu_model(roots)) == {"0": 2, "1": 1}


# -- refusals -----------------------------------------------------------------------------------------------------------


def refusal(roots):
    with pytest.raises(Refused) as caught:
        open_msr(roots)
    return caught.value.refusal


def test_no_device(roots):
    put_broadwell_ep(roots)
    refused = refusal(roots)
    assert "dev/cpu/0/msr can't be opened: ENOENT" in refused.reason
    assert refused.remedy == "load the module: sudo modprobe msr"


def test_no_device_in_a_virtual_machine(roots):
    put_broadwell_ep(roots, virtual=True)
    assert "virtual machine" in refusal(roots).remedy


def test_a_dead_package(roots):
    one, two = two_sockets(roots)
    with moving_msr({name: pair for name, pair in all_four(one, two).items() if name != "package-1"}):
        assert "package-1 did not move within" in refusal(roots).reason


def test_all_dead_names_both(roots):
    two_sockets(roots)
    assert "package-0 and package-1 did not move" in refusal(roots).reason


def test_dram_that_reads_zero_for_ever_is_left_out(roots):
    one, two = two_sockets(roots)
    one[0x619] = two[0x619] = 0
    with moving_msr({"package-0": (one, 0x611), "package-1": (two, 0x611)}):
        meter = open_msr(roots)
    assert meter.boundary == "pkg"
    assert meter.notes[-1] == "DRAM is left out of the total: dram-0 and dram-1 does not count"
    meter.close()


@pytest.mark.usefixtures("way")
def test_a_short_file(roots):
    put_broadwell_ep(roots)
    MsrFile(roots, 0, {0x606: UNIT_ESU14})  # ends before the package register
    refused = refusal(roots)
    assert "energy registers can't be read: EIO" in refused.reason
    assert "0x611" in refused.reason


@pytest.mark.parametrize("raw", [0, 0x3])
def test_units_of_a_virtual_machine(roots, raw):
    put_broadwell_ep(roots, virtual=True)
    MsrFile(roots, 0, SERVER_REGISTERS | {0x606: raw})
    refused = refusal(roots)
    assert f"unit register reads {raw:#x}" in refused.reason
    assert "virtual machine" in refused.remedy


def test_a_register_that_vanishes_while_measuring(roots):
    one, two = two_sockets(roots)
    with moving_msr(all_four(one, two)):
        meter = open_msr(roots)
    os.truncate(two.path, 0x611 * 8)
    with pytest.raises(MeterFault, match=r"could not be read any more \(EIO.*0x611 of .*cpu/1/msr"):
        meter.read()
    meter.close()


def test_unknown_cpu(roots):
    put_cpus(roots, ("CentaurHauls", 7, 1, "VIA"), {0: (0, 0)})
    assert "no energy registers are known for VIA (vendor CentaurHauls, family 7)" in refusal(roots).reason


def test_no_topology(roots):
    put_cpus(roots, ("GenuineIntel", 6, 0x4F, "Xeon"), {})
    put(roots.proc_path("cpuinfo"), "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 79")
    assert "does not say which CPU belongs to which package" in refusal(roots).reason


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_without_permission_the_remedy_is_a_command(public_roots):
    put_broadwell_ep(public_roots)
    MsrFile(public_roots, 0, SERVER_REGISTERS)
    reason, remedy = refusal_as_nobody("msr", public_roots)
    assert "dev/cpu/0/msr can't be opened: EACCES" in reason
    assert remedy == "run as root and give the job a user ([job] user), or use another meter"
    assert "setcap" not in remedy  # on an interpreter it would give the capability to every user of the machine


def test_nothing_stays_open_after_a_refusal(roots):
    two_sockets(roots)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        refusal(roots)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
