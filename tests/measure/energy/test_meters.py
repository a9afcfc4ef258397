"""Each meter over a faithful fake tree (synthetic values), the perf path through the real kernel, and the estimate for real."""

import os
import subprocess
import sys
import threading
import time

import pytest
from measure.energy.trees import BROADWELL_EP, EPYC, INFO_RAW, LIMIT_RAW, UNIT_RAW, Tree

from bayestuner.errors import MeterUnavailable
from bayestuner.measure.energy.counting import Refused
from bayestuner.measure.energy.cpus import CpuModel, cpu_model
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.model import affine_energy_j, open_model, parameters_for, parse_stat
from bayestuner.measure.energy.msr import open_msr
from bayestuner.measure.energy.perf import event_config, open_perf
from bayestuner.measure.energy.powercap import open_powercap
from bayestuner.measure.energy.roots import Roots
from bayestuner.measure.energy.select import open_meter


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


class Mover:
    """Moves counters every 5 ms while it is open."""

    def __init__(self, move):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(move,))

    def _run(self, move):
        while not self._stop.wait(0.005):
            move()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def sample(seconds, *counts):
    return EnergySample(int(seconds * 1e9), 0, counts)


# -- powercap -----------------------------------------------------------------------------------------------------------


def bump(zones, *names):
    for name in names or zones:
        file = zones[name] / "energy_uj"
        # one write in place, so that no reader ever sees an empty file
        value = int(file.read_text()) + 100
        with file.open("r+") as f:
            f.write(f"{value}\n")


def test_powercap_counts_package_and_dram_of_both_sockets_and_nothing_twice(tree):
    zones = tree.server_zones()
    with Mover(lambda: bump(zones)):
        meter = open_powercap(tree.roots)
    assert meter.domains == ("package-0", "dram-0", "package-1", "dram-1")
    assert meter.boundary == "pkg+dram"
    assert not meter.estimated
    energy = meter.energy_j(sample(0, 0, 0, 0, 0), sample(1, 90_000_000, 10_000_000, 80_000_000, 5_000_000))
    assert energy == pytest.approx(185.0)
    assert meter.read().raw_counts == tuple(int((zones[d] / "energy_uj").read_text()) for d in meter.domains)
    meter.close()
    meter.close()
    with pytest.raises(MeterFault, match="closed"):
        meter.read()


def test_powercap_wraps_each_domain_at_its_own_range(tree):
    zones = tree.server_zones()
    with Mover(lambda: bump(zones)):
        meter = open_powercap(tree.roots)
    first = sample(0, 262143328850, 65712999613, 0, 0)
    last = sample(1, 1_000_000, 500_000, 0, 0)
    assert meter.energy_j(first, last) == pytest.approx(1.5, rel=1e-3)
    meter.close()


def test_powercap_refuses_a_dead_package_and_leaves_out_half_dead_dram(tree):
    zones = tree.server_zones()
    with pytest.raises(Refused) as caught, Mover(lambda: bump(zones, "package-0", "dram-0")):
        open_powercap(tree.roots)
    assert "package-1" in caught.value.refusal.reason
    with Mover(lambda: bump(zones, "package-0", "package-1", "dram-0")):
        meter = open_powercap(tree.roots)
    assert meter.domains == ("package-0", "package-1")
    assert meter.boundary == "pkg"
    assert any("dram-1" in note for note in meter.notes)
    meter.close()


def test_powercap_says_what_masks_it(tree):
    with pytest.raises(Refused, match="does not exist"):
        open_powercap(tree.roots)
    flat = tree.root / "sys/class/powercap"
    flat.mkdir(parents=True)
    (flat / "intel-rapl:0").symlink_to(tree.root / "masked")
    with pytest.raises(Refused) as caught:
        open_powercap(tree.roots)
    assert "container" in caught.value.refusal.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="dropping to another user needs root")
def test_powercap_unreadable_by_an_ordinary_user_names_the_permission(tree):
    zones = tree.server_zones()
    for folder in zones.values():
        (folder / "energy_uj").chmod(0o400)
    parent = tree.root
    while parent != parent.parent:
        parent.chmod(parent.stat().st_mode | 0o011)
        parent = parent.parent
    code = (
        "import os, sys; from bayestuner.measure.energy.powercap import open_powercap; from bayestuner.measure.energy.roots import Roots\n"
        "from bayestuner.measure.energy.counting import Refused\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: open_powercap(Roots(sys.argv[1], sys.argv[2], sys.argv[3]))\n"
        "except Refused as r: print(r.refusal.reason, '|', r.refusal.remedy)"
    )
    arguments = [tree.roots.sysfs, tree.roots.devcpu, tree.roots.proc]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    assert "EACCES" in done.stdout
    assert "chmod" in done.stdout or "root" in done.stdout


# -- msr ----------------------------------------------------------------------------------------------------------------


def broadwell(tree):
    for cpu in (0, 1):
        tree.msr(cpu, {0x606: UNIT_RAW, 0x610: LIMIT_RAW, 0x611: 1000, 0x614: INFO_RAW, 0x619: 1000, 0x639: 0})
    ticks = iter(range(1001, 10**6))

    def move():
        tick = next(ticks)
        for cpu in (0, 1):
            for register in (0x611, 0x619):
                tree.set_register(cpu, register, tick)

    return move


def test_msr_of_the_papers_server_has_its_units(tree):
    """Two E5-2680 v4: 61 uJ a count for the package, 15.3 uJ for DRAM, worked out by hand."""
    with Mover(broadwell(tree)):
        meter = open_msr(tree.roots)
    assert meter.domains == ("package-0", "dram-0", "package-1", "dram-1")
    energy = meter.domain_energies_j(sample(0, 0, 0, 0, 0), sample(1, 1_638_400, 1_000_000, 819_200, 0))
    assert energy == pytest.approx((100.0, 15.3, 50.0, 0.0))
    assert meter.counters[0].max_power_w == 216  # 1.5 x PL2
    meter.close()


def test_msr_wraps_in_the_register_and_ignores_reserved_bits(tree):
    move = broadwell(tree)
    with Mover(move):
        meter = open_msr(tree.roots)
    tree.set_register(0, 0x611, 0xDEAD_0000_0000_0010)
    assert meter.read().raw_counts[0] == 0x10
    assert meter.energy_j(sample(0, 2**32 - 16384, 0, 0, 0), sample(1, 0, 0, 0, 0)) == pytest.approx(1.0)
    meter.close()


def test_msr_refuses_dead_short_and_missing(tree):
    with pytest.raises(Refused) as missing:
        open_msr(tree.roots)
    assert "modprobe msr" in missing.value.refusal.remedy
    broadwell(tree)
    with pytest.raises(Refused, match="did not move"):
        open_msr(tree.roots)
    tree.msr(1, {0x606: UNIT_RAW})  # ends before the energy register: the device would answer EIO
    with pytest.raises(Refused, match="instead of 8"):
        open_msr(tree.roots)
    tree.msr(0, {0x606: 0, 0x611: 1})
    with pytest.raises(Refused, match="no CPU with energy counters"):
        open_msr(tree.roots)


def test_msr_of_amd_reads_its_own_registers(tmp_path):
    tree = Tree(tmp_path, cpu=EPYC, packages=1)
    tree.msr(0, {0xC0010299: 0xA1003, 0xC001029B: 7})
    ticks = iter(range(8, 10**6))
    with Mover(lambda: tree.set_register(0, 0xC001029B, next(ticks))):
        meter = open_msr(tree.roots)
    assert meter.domains == ("package-0",)
    assert meter.energy_j(sample(0, 0), sample(1, 65536 * 50)) == pytest.approx(50.0)
    assert meter.boundary == "pkg"
    meter.close()


# -- perf: the kernel's own software clock stands where the power PMU would be --------------------------------------------


def software_pmu(tree):
    base = "sys/bus/event_source/devices/power"
    tree.write(f"{base}/type", "1\n")  # PERF_TYPE_SOFTWARE
    tree.write(f"{base}/cpumask", "0\n")
    tree.write(f"{base}/events/energy-pkg", "event=0x00\n")  # cpu-clock: counts nanoseconds
    tree.write(f"{base}/events/energy-pkg.scale", "1.0e-9\n")
    return base


@pytest.mark.skipif(os.geteuid() != 0, reason="system-wide perf events need root or perf_event_paranoid <= 0")
def test_perf_reads_real_kernel_events(tree):
    software_pmu(tree)
    meter = open_perf(tree.roots)
    first = meter.read()
    time.sleep(0.2)
    last = meter.read()
    seconds = (last.stamp_ns - first.stamp_ns) / 1e9
    assert meter.domains == ("package-0",)
    assert meter.energy_j(first, last) == pytest.approx(seconds, rel=0.2)
    meter.close()


def test_perf_says_what_is_missing(tree):
    with pytest.raises(Refused, match="does not exist"):
        open_perf(tree.roots)
    base = software_pmu(tree)
    tree.write(f"{base}/events/energy-pkg", "umask=1\n")
    with pytest.raises(Refused, match="umask"):
        open_perf(tree.roots)
    (tree.root / base / "events/energy-pkg").unlink()
    with pytest.raises(Refused, match="counters read zero"):
        open_perf(tree.roots)
    tree.write(f"{base}/events/energy-pkg", "event=0x02\n")
    tree.write(f"{base}/type", "9999\n")
    with pytest.raises(Refused, match="ENOENT"):
        open_perf(tree.roots)
    assert event_config("event=0x02") == 2


def test_perf_without_the_extension_names_it(tree, monkeypatch):
    software_pmu(tree)
    monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    with pytest.raises(Refused, match="C extension is not built"):
        open_perf(tree.roots)


# -- the estimate --------------------------------------------------------------------------------------------------------


def test_the_estimate_rises_with_work_and_says_what_it_is():
    meter = open_model(Roots())
    idle = [meter.read(), time.sleep(1.0), meter.read()]
    busy_from = meter.read()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        pass
    busy_to = meter.read()
    assert meter.energy_j(busy_from, busy_to) > 0.6 * meter.energy_j(idle[0], idle[2])
    assert meter.energy_j(busy_from, busy_to) > meter.parameters.idle_w * meter.cpus * 0.9 + 0.5 * (
        meter.parameters.busy_w - meter.parameters.idle_w
    )
    assert meter.estimated
    assert meter.boundary == "model"
    assert "estimated, not measured" in meter.notes[0]
    meter.close()


def test_the_estimates_formula_by_hand():
    broadwell = parameters_for(CpuModel("GenuineIntel", 6, 0x4F))
    assert affine_energy_j(broadwell, cpus=4, duration_s=10, busy_s=20) == pytest.approx(4 * 10 * 0.7128 + 20 * (3.6853 - 0.7128))
    assert affine_energy_j(broadwell, cpus=1, duration_s=1, busy_s=9) == pytest.approx(3.6853)
    assert "not in the table" in parameters_for(CpuModel("CentaurHauls", 6, 1)).architecture


def test_stat_is_read_as_the_kernel_means_it():
    times = parse_stat("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n")
    assert (times.busy, times.total, times.cpus) == (1 + 2 + 3 + 6 + 7, 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8, 1)
    with pytest.raises(ValueError, match="no cpu line"):
        parse_stat("intr 5\n")


# -- choosing --------------------------------------------------------------------------------------------------------------


def test_the_first_that_works_is_taken_and_the_others_say_why(tree):
    with Mover(broadwell(tree)):
        meter, refused = open_meter(["perf", "powercap", "msr", "model"], roots=tree.roots)
    assert meter.source == "msr"
    assert [r.what for r in refused] == ["perf", "powercap"]
    meter.close()


def test_the_estimate_is_never_taken_unasked(tree):
    with pytest.raises(MeterUnavailable) as caught:
        open_meter(roots=tree.roots)
    assert all(source in str(caught.value) for source in ("perf", "powercap", "msr"))
    meter, _ = open_meter(["perf", "powercap", "msr", "model"], roots=tree.roots)
    assert meter.estimated
    meter.close()


def test_unknown_meters_and_empty_lists_are_named(tree):
    with pytest.raises(MeterUnavailable, match="called 'wattmeter'"):
        open_meter(["wattmeter"], roots=tree.roots)
    with pytest.raises(MeterUnavailable, match="empty"):
        open_meter([], roots=tree.roots)


def test_cpu_model_of_the_tree(tree):
    assert cpu_model(tree.roots) == CpuModel("GenuineIntel", 6, 0x4F, BROADWELL_EP["name"], False)
