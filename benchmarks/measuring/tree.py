"""A made-up ``/sys`` of two sockets with package and DRAM zones, for readers to read.

Synthetic: the layout is a real machine's, the energy is not, and plain files are read somewhat faster than the kernel's own. No psys, no
mmio twin, and zone N is package N: there is nothing that readers could disagree on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKETS = 2
DOMAINS = 2 * SOCKETS
CPUS = 4


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def make(folder: Path) -> list[Path]:
    """Build ``folder/sys`` and an empty ``folder/proc``; the ``energy_uj`` files."""
    sys_root, energies = folder / "sys", []
    (folder / "proc").mkdir(parents=True)
    devices, links = sys_root / "devices/virtual/powercap", sys_root / "class/powercap"
    links.mkdir(parents=True)
    _put(devices / "intel-rapl/enabled", "1")
    (links / "intel-rapl").symlink_to("../../devices/virtual/powercap/intel-rapl")
    (devices / "intel-rapl/subsystem").symlink_to("../../../../class/powercap")
    for socket in range(SOCKETS):
        package = devices / f"intel-rapl/intel-rapl:{socket}"
        for zone, name, range_uj in ((package, f"package-{socket}", 262143328850), (package / f"{package.name}:0", "dram", 65712999613)):
            _put(zone / "name", name)
            _put(zone / "max_energy_range_uj", str(range_uj))
            _put(zone / "energy_uj", str(31_415_926_535 + 1000 * len(energies)))
            (links / zone.name).symlink_to(os.path.relpath(zone, links))
            energies.append(zone / "energy_uj")
    _put(sys_root / "devices/system/cpu/present", f"0-{CPUS - 1}")
    for cpu in range(CPUS):
        topology = sys_root / f"devices/system/cpu/cpu{cpu}/topology"
        _put(topology / "physical_package_id", str(cpu % SOCKETS))
        _put(topology / "core_id", str(cpu // SOCKETS))
        _put(topology / "die_id", "0")
    return energies


@contextmanager
def moving(energies: list[Path]) -> Iterator[None]:
    """Counts on by the millisecond, each file at a pace of its own: meters prove their counters and look for copies of each other."""
    end = threading.Event()
    fds = [os.open(path, os.O_WRONLY) for path in energies]

    def run() -> None:
        value = 31_415_926_535
        while not end.wait(0.001):
            value += 100_000
            for index, fd in enumerate(fds):
                os.pwrite(fd, b"%d\n" % (value + 10_000_000_000 * index + value % 1000 * index), 0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        for fd in fds:
            os.close(fd)
