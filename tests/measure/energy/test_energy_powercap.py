"""The powercap meter over trees laid out as the kernel does; the energy is synthetic (see energy_fakes)."""

import itertools
import os
import threading
from dataclasses import replace

import pytest
from energy_fakes import (
    EPYC_ZEN4,
    PowercapTree,
    TextCounter,
    moving_text,
    put,
    put_broadwell_ep,
    put_cpus,
    put_two_socket_powercap,
    refusal_as_nobody,
)

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.meter import MeterFault
from bayestuner.measure.energy.powercap import find_zones, open_powercap, zone_modulus_uj

COUNTED = ("package-0", "dram-0", "package-1", "dram-1")


def seconds_later(sample, seconds):
    """The sample with a later stamp, so that exact counts can be given to an interval of known length."""
    return replace(sample, stamp_ns=sample.stamp_ns + int(seconds * 1e9))


@pytest.mark.parametrize(
    ("range_uj", "modulus_uj"),
    [
        (262143328850, 262143328911),  # 61035 nJ
        (65712999613, 65712999628),  # 15300 nJ, DRAM of servers
        (65532610987, 65532611002),  # 15258 nJ, AMD
        (262143999938, 262143999999),  # older kernels: 61035.156 nJ
    ],
)
def test_modulus_is_the_range_and_one_unit(range_uj, modulus_uj):
    assert zone_modulus_uj(range_uj) == modulus_uj


def test_zones_are_found_by_name_and_place(roots):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    zones, notes = find_zones(roots)
    assert tuple(zone.name for zone in zones) == COUNTED
    assert {zone.name: zone.folder for zone in zones} == {name: folders[name].resolve() for name in COUNTED}
    assert notes == ("intel-rapl:3 (package-9) has no energy_uj", "intel-rapl:4 points nowhere (masked, as containers do)")
    assert {"psys", "mmio", "core-0"} <= set(folders)  # they are there, and were not taken


@pytest.mark.usefixtures("way")
def test_two_sockets_are_added_and_nothing_else(roots):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    with moving_text(folders):
        meter = open_powercap(roots)
    assert (meter.source, meter.estimated, meter.boundary, meter.domains) == ("powercap", False, "pkg+dram", COUNTED)
    setters = {name: TextCounter(folder / "energy_uj") for name, folder in folders.items()}
    start = {"package-0": 262143328000, "dram-0": 65712999000, "package-1": 5_000_000, "dram-1": 7, "psys": 1, "core-0": 1, "mmio": 1}
    later = {
        "package-0": 99_089,
        "dram-0": 999_372,
        "package-1": 505_000_000,
        "dram-1": 20_000_007,
        "psys": 10**9,
        "core-0": 10**9,
        "mmio": 10**9,
    }
    for name, setter in setters.items():
        setter(start[name])
    first = meter.read()
    for name, setter in setters.items():
        setter(later[name])
    last = seconds_later(meter.read(), 10)
    # By hand: 262143328911 - 262143328000 + 99089 = 100000 uJ; 65712999628 - 65712999000 + 999372 = 1000000 uJ; 500 J; 20 J.
    assert meter.domain_energies_j(first, last) == pytest.approx((0.1, 1.0, 500.0, 20.0), rel=1e-9)
    assert meter.energy_j(first, last) == pytest.approx(521.1, rel=1e-9)
    meter.close()
    meter.close()
    with pytest.raises(MeterFault, match="closed"):
        meter.read()


def test_intervals_and_power_follow_the_limits_of_the_zone(roots):
    put_broadwell_ep(roots)
    with moving_text(put_two_socket_powercap(roots)):
        meter = open_powercap(roots)
    assert [counter.max_power_w for counter in meter.counters] == [216.0, 400.0, 216.0, 400.0]  # 1.5 * PL2; the stated cap
    assert meter.max_interval_s == pytest.approx(65712.999628 / 400 / 2)  # DRAM wraps first
    meter.close()


def test_reset_is_told_from_wrap(roots):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    with moving_text(folders):
        meter = open_powercap(roots)
    package = TextCounter(folders["package-0"] / "energy_uj")
    package(100_000_000_000)
    first = meter.read()
    package(0)
    with pytest.raises(MeterFault, match=r"package-0.*reset"):
        meter.energy_j(first, seconds_later(meter.read(), 10))
    meter.close()


def test_a_dead_package_refuses_the_meter(roots):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    with moving_text({name: folders[name] for name in ("package-0", "dram-0", "dram-1")}), pytest.raises(Refused) as caught:
        open_powercap(roots)
    assert "package-1 did not move within" in caught.value.refusal.reason
    assert "another meter" in caught.value.refusal.remedy


def test_dead_dram_of_one_socket_takes_dram_out_of_the_total(roots):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    with moving_text({name: folders[name] for name in ("package-0", "package-1", "dram-0")}):
        meter = open_powercap(roots)
    assert (meter.boundary, meter.domains) == ("pkg", ("package-0", "package-1"))
    assert meter.notes[-1] == "DRAM is left out of the total: dram-1 does not count"
    meter.close()


@pytest.mark.usefixtures("way")
def test_garbage_while_measuring_is_a_fault(roots):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    with moving_text(folders):
        meter = open_powercap(roots)
    (folders["dram-1"] / "energy_uj").write_text("")
    with pytest.raises(MeterFault, match=r"could not be read any more \(EINVAL.*intel-rapl:2:0"):
        meter.read()
    meter.close()


def test_zones_of_amd_chiplets_are_one_counter(roots):
    put_cpus(roots, EPYC_ZEN4, {0: (0, 0), 1: (0, 1), 2: (0, 2)})
    tree = PowercapTree(roots)
    folders = {f"die-{die}": tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", range_uj=65532610987) for die in range(3)}
    with moving_text(folders):
        meter = open_powercap(roots)
    assert (meter.boundary, meter.domains) == ("pkg", ("package-0",))
    assert "package-0-die-1 shows the same counter as package-0" in meter.notes[0]
    meter.close()


def test_dies_of_intel_parts_are_told_apart(roots):
    put_broadwell_ep(roots)
    tree = PowercapTree(roots)
    for die in range(2):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}")
        tree.zone(f"intel-rapl:{die}:0", "dram")
    assert tuple(zone.name for zone in find_zones(roots)[0]) == (
        "package-0-die-0",
        "dram-0-die-0",
        "package-0-die-1",
        "dram-0-die-1",
    )


def test_no_tree_at_all(roots):
    put_broadwell_ep(roots)
    with pytest.raises(Refused) as caught:
        open_powercap(roots)
    assert "does not exist" in caught.value.refusal.reason
    assert caught.value.refusal.remedy == "load the driver: sudo modprobe intel_rapl_msr"


def test_a_tree_without_zones_in_a_virtual_machine(roots):
    put_broadwell_ep(roots, virtual=True)
    PowercapTree(roots)
    with pytest.raises(Refused) as caught:
        open_powercap(roots)
    assert "no package zone" in caught.value.refusal.reason
    assert "virtual machine" in caught.value.refusal.remedy


def test_a_masked_tree_names_the_container(roots):
    put_broadwell_ep(roots)
    tree = PowercapTree(roots)
    (tree.links / "intel-rapl:0").symlink_to("../../devices/virtual/powercap/intel-rapl/intel-rapl:0")
    with pytest.raises(Refused) as caught:
        open_powercap(roots)
    assert "intel-rapl:0 points nowhere" in caught.value.refusal.reason
    assert "container" in caught.value.refusal.remedy


@pytest.mark.parametrize("text", ["", "0", "many"])
def test_a_package_without_a_range_is_refused(roots, text):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    put(folders["package-1"] / "max_energy_range_uj", text)
    with pytest.raises(Refused) as caught:
        open_powercap(roots)
    assert "max_energy_range_uj" in caught.value.refusal.reason


def _no_range(folder):
    (folder / "max_energy_range_uj").unlink()


def _range_of_0(folder):
    put(folder / "max_energy_range_uj", "0")


def _answers_an_error(folder):
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").mkdir()  # open works, read answers EISDIR: stands for the ENODATA and EIO of real zones


def _can_not_be_opened(folder):
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").symlink_to("/nonexistent")


@pytest.mark.parametrize("broken", [_no_range, _range_of_0, _answers_an_error, _can_not_be_opened])
def test_one_dram_zone_that_cannot_be_used_leaves_out_dram_and_nothing_else(roots, broken):
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    broken(folders["dram-1"])
    with moving_text({name: folders[name] for name in ("package-0", "package-1", "dram-0")}):
        meter = open_powercap(roots)
    assert (meter.boundary, meter.domains) == ("pkg", ("package-0", "package-1"))
    assert any(note.startswith("DRAM is left out of the total: dram-1 can't be ") for note in meter.notes)
    meter.close()


@pytest.mark.parametrize("way", ["extension", "python"], indirect=True)
def test_counters_that_step_once_a_second_are_refused_each_time_for_what_they_are(roots, way, monkeypatch):
    """As in a virtual machine whose host samples the energy once a second (QEMU's vmsr helper)."""
    monkeypatch.setattr("bayestuner.measure.energy.counting_meter.PROOF_TIMEOUT_S", 0.1)
    monkeypatch.setattr("bayestuner.measure.energy.counting_meter.SLOW_COUNTER_S", 1.5)
    put_broadwell_ep(roots, virtual=True)
    tree = PowercapTree(roots)
    package = TextCounter(tree.zone("intel-rapl:0", "package-0", energy_uj=1000) / "energy_uj")
    ended, steps = threading.Event(), itertools.count(1)

    def step():
        while not ended.wait(0.6):
            package(1000 + 12_000_000 * next(steps))

    thread = threading.Thread(target=step)
    thread.start()
    try:
        for _ in range(4):
            with pytest.raises(Refused) as caught:
                open_powercap(roots)
            assert "package-0 moved once at most within 100 ms, but did within 1.5 s" in caught.value.refusal.reason
            assert "virtual machine" not in caught.value.refusal.remedy
    finally:
        ended.set()
        thread.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_without_permission_the_remedy_is_a_command(public_roots):
    """The real EACCES: root ignores file modes, so this runs as nobody, in a process of its own."""
    roots = public_roots
    put_broadwell_ep(roots)
    folders = put_two_socket_powercap(roots)
    for folder in folders.values():
        (folder / "energy_uj").chmod(0o400)
    reason, remedy = refusal_as_nobody("powercap", roots)
    assert "energy_uj of package-0 can't be opened: EACCES" in reason
    assert "sudo find /sys/devices/virtual/powercap -name energy_uj -exec chown" in remedy
