"""Stand-ins for kernel interfaces that the machines running these tests don't have: sysfs trees of RAPL, ``msr`` files, moving counters.

Everything here is synthetic: the layout, names, register values and text formats are those of real machines (sources in the comments),
the energy is made up. What can't be faked this way: the pace of real counters, what a remote rdmsr costs, CAP_SYS_RAWIO and lockdown.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bayestuner.measure.energy.kernel_files import KernelRoots

STRIDE = 8

# 0x606 and 0x614 of a Xeon E5-2697 v3 (pepc's hswep0 dump): power 1/8 W, energy 2^-14 J, time 976 us; TDP 145 W. 0x610: PL2 174 W, locked.
UNIT_ESU14 = 0x000A0E03
PACKAGE_INFO = 0x002F091001F00488
PACKAGE_LIMIT = 0x80068570005A8488

SERVER_REGISTERS = {0x606: UNIT_ESU14, 0x610: PACKAGE_LIMIT, 0x611: 5, 0x614: PACKAGE_INFO, 0x619: 5, 0x639: 0, 0x64D: 0}

BROADWELL_EP = ("GenuineIntel", 6, 0x4F, "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz")
SKYLAKE_CLIENT = ("GenuineIntel", 6, 0x5E, "Intel(R) Core(TM) i7-6700")
EPYC_ZEN4 = ("AuthenticAMD", 0x19, 0x11, "AMD EPYC 9354 32-Core Processor")


def put(path: Path, text: str) -> Path:
    """A kernel-like text file: trailing newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path


def fake_roots(folder: Path) -> KernelRoots:
    return KernelRoots(sysfs=str(folder / "sys"), devcpu=str(folder / "dev/cpu"), proc=str(folder / "proc"), msr_stride=STRIDE)


def put_cpus(roots: KernelRoots, part: tuple[str, int, int, str], places: dict[int, tuple[int, int]], *, virtual: bool = False) -> None:
    """/proc/cpuinfo and topology folders; `places` is CPU -> (package, die_id)."""
    vendor, family, model, name = part
    flags = "fpu vme de pse msr" + (" hypervisor" if virtual else "")
    blocks = [
        f"processor\t: {cpu}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {name}\n"
        f"stepping\t: 1\nflags\t\t: {flags}\n"
        for cpu in sorted(places)
    ]
    put(roots.proc_path("cpuinfo"), "\n".join(blocks))
    for cpu, (package, die) in places.items():
        topology = roots.sys_path(f"devices/system/cpu/cpu{cpu}/topology")
        put(topology / "physical_package_id", str(package))
        put(topology / "die_id", str(die))
        put(topology / "core_id", str(cpu // 2))
    put(roots.sys_path("devices/system/cpu/cpuidle/current_driver"), "intel_idle")  # noise beside cpu0


def put_broadwell_ep(roots: KernelRoots, *, virtual: bool = False) -> None:
    """Two sockets numbered as on a real Broadwell-EP: even CPUs on socket 0, odd ones on 1; die_id counts over the whole machine."""
    put_cpus(roots, BROADWELL_EP, {cpu: (cpu % 2, cpu % 2) for cpu in range(8)}, virtual=virtual)


class PowercapTree:
    """/sys/class/powercap: flat symlinks into nested device folders, as the kernel lays it out."""

    def __init__(self, roots: KernelRoots) -> None:
        self.links = roots.sys_path("class/powercap")
        self.links.mkdir(parents=True)
        self.devices = roots.sys_path("devices/virtual/powercap")
        self.control_type("intel-rapl")

    def control_type(self, name: str) -> None:
        folder = self.devices / name
        put(folder / "enabled", "1")
        (self.links / name).symlink_to(os.path.relpath(folder, self.links))

    def zone(self, name: str, domain: str, *, energy_uj: int | None = 0, range_uj: int = 262143328850, pl2_uw: int = 144_000_000) -> Path:
        """A zone (``intel-rapl:0``) or subzone (``intel-rapl:0:1``); returns its real folder."""
        parts = name.split(":")
        nested = [":".join(parts[: depth + 1]) for depth in range(len(parts))]
        folder = self.devices.joinpath(*nested)
        put(folder / "name", domain)
        put(folder / "max_energy_range_uj", str(range_uj))
        if energy_uj is not None:
            put(folder / "energy_uj", str(energy_uj))
        if domain.startswith("package"):
            for index, (kind, limit) in enumerate({"long_term": 120_000_000, "short_term": pl2_uw}.items()):
                put(folder / f"constraint_{index}_name", kind)
                put(folder / f"constraint_{index}_power_limit_uw", str(limit))
            put(folder / "constraint_0_max_power_uw", "120000000")
            put(folder / "constraint_1_max_power_uw", "240000000")
        put(folder / "power/control", "auto")
        put(folder / "uevent", "")
        (folder / "subsystem").symlink_to(os.path.relpath(self.links, folder))
        (self.links / name).symlink_to(os.path.relpath(folder, self.links))
        return folder


def put_two_socket_powercap(roots: KernelRoots) -> dict[str, Path]:
    """psys sits at intel-rapl:1, so the second socket is intel-rapl:2; both sockets' DRAM zones are called ``dram``."""
    tree = PowercapTree(roots)
    folders = {
        "package-0": tree.zone("intel-rapl:0", "package-0", energy_uj=1_000_000),
        "core-0": tree.zone("intel-rapl:0:0", "core", energy_uj=7),
        "dram-0": tree.zone("intel-rapl:0:1", "dram", energy_uj=2_000_000, range_uj=65712999613),
        "psys": tree.zone("intel-rapl:1", "psys", energy_uj=900),
        "package-1": tree.zone("intel-rapl:2", "package-1", energy_uj=3_000_000),
        "dram-1": tree.zone("intel-rapl:2:0", "dram", energy_uj=4_000_000, range_uj=65712999613),
    }
    tree.control_type("intel-rapl-mmio")
    folders["mmio"] = tree.zone("intel-rapl-mmio:0", "package-0", energy_uj=1_000_000)
    tree.zone("intel-rapl:3", "package-9", energy_uj=None)  # a zone that doesn't count
    (tree.links / "intel-rapl:4").symlink_to("../../devices/virtual/powercap/gone")  # masked, as container engines do
    return folders


class MsrFile:
    """``/dev/cpu/N/msr`` as a sparse file: register r at byte ``r * 8``.

    The device's registers are numbered one apart and eight bytes wide, so a plain file addressed like the device would have them
    overlap. Stores are aligned and eight bytes long, so that a reader never sees half a value.
    """

    def __init__(self, roots: KernelRoots, cpu: int, values: dict[int, int]) -> None:
        self.path = roots.msr_path(cpu)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._fd, (max(values) + 1) * STRIDE)
        self._pages: dict[int, memoryview] = {}
        for register, value in values.items():
            self[register] = value

    def __setitem__(self, register: int, value: int) -> None:
        page, inside = divmod(register * STRIDE, mmap.PAGESIZE)
        if page not in self._pages:
            length = min(mmap.PAGESIZE, os.fstat(self._fd).st_size - page * mmap.PAGESIZE)
            self._pages[page] = memoryview(mmap.mmap(self._fd, length, offset=page * mmap.PAGESIZE)).cast("Q")
        self._pages[page][inside // 8] = value


class TextCounter:
    """An ``energy_uj`` file that can be set again and again without ever being empty in between."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY)

    def __call__(self, value: int) -> None:
        os.pwrite(self._fd, b"%d\n" % value, 0)


class Moving(AbstractContextManager["Moving"]):
    """Adds `step` to every counter each millisecond, modulo its modulus, in a thread; `stop` leaves the values where they are."""

    def __init__(self, setters: dict[str, tuple[Callable[[int], None], int, int]], step: int = 1000) -> None:
        self._setters = setters
        self._step = step
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        moved = 0
        while not self._stop.wait(0.001):
            moved += self._step
            for setter, start, modulus in self._setters.values():
                setter((start + moved) % modulus)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Moving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def moving_msr(files: dict[str, tuple[MsrFile, int]], start: int = 5) -> Moving:
    """Counters of ``msr`` files, by name -> (file, register)."""

    def setter(file: MsrFile, register: int) -> Callable[[int], None]:
        return lambda value: file.__setitem__(register, value)

    return Moving({name: (setter(file, register), start, 1 << 32) for name, (file, register) in files.items()})


def moving_text(folders: dict[str, Path]) -> Moving:
    """``energy_uj`` files, by name -> folder."""
    return Moving({name: (TextCounter(folder / "energy_uj"), 1000, 65_000_000_000) for name, folder in folders.items()})


_AS_NOBODY = """
import os, sys
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.select import OPENERS
source, *folders = sys.argv[1:]
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
try:
    OPENERS[source](KernelRoots(*folders, msr_stride=8))
except Refused as refused:
    print(refused.refusal.reason, "|", refused.refusal.remedy)
"""


def refusal_as_nobody(source: str, roots: KernelRoots) -> tuple[str, str]:
    """Reason and remedy of a meter opened by an unprivileged user (uid 65534), in a process of its own; needs root to become that."""
    argv = [sys.executable, "-c", _AS_NOBODY, source, roots.sysfs, roots.devcpu, roots.proc]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    reason, _, remedy = done.stdout.strip().partition(" | ")
    return reason, remedy
