"""``python contender.py NAME FOLDER``: one way of reading all four domains below /sys, timed on request. Runs in any environment: each way
imports what it needs. Answers ``ready <domains>``, then to each line with a number of readings the nanoseconds that one took.

CPU time of the reading thread, not time by the clock: nothing here waits for anything but a CPU, and others may be using them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Read = Callable[[], object]


def ours(folder: str) -> tuple[Read, int]:
    """BayesTuner's meter: stamps, a tuple of raw counts."""
    from bayestuner.measure.energy.kernel_files import KernelRoots
    from bayestuner.measure.energy.powercap import open_powercap

    meter = open_powercap(KernelRoots(proc=f"{folder}/proc"))
    return meter.read, len(meter.domains)


def ours_plain(folder: str) -> tuple[Read, int]:
    """The same without the extension."""
    sys.modules["bayestuner._native"] = None  # type: ignore[assignment]
    return ours(folder)


def files(_folder: str) -> tuple[Read, int]:
    """Open, read, float, close: what a script of ten lines does."""
    zone = "/sys/class/powercap/intel-rapl:"
    paths = [f"{zone}{name}/energy_uj" for name in ("0", "0:0", "1", "1:0")]

    def read() -> list[float]:
        values = []
        for path in paths:
            with open(path) as file:  # noqa: PTH123 - the fastest way to write it
                values.append(float(file.read()))
        return values

    return read, len(paths)


def pyrapl(_folder: str) -> tuple[Read, int]:
    from pyRAPL.device_api import DramAPI, PkgAPI

    package, dram = PkgAPI(), DramAPI()
    return lambda: (package.energy(), dram.energy()), len(package.energy()) + len(dram.energy())


def pyjoules(_folder: str) -> tuple[Read, int]:
    from pyJoules.device.rapl_device import RaplDevice

    device = RaplDevice()
    device.configure(RaplDevice.available_package_domains() + RaplDevice.available_dram_domains())
    return device.get_energy, len(device.get_energy())


def codecarbon(_folder: str) -> tuple[Read, int]:
    from codecarbon.core.cpu import IntelRAPL
    from codecarbon.core.units import Time
    from codecarbon.external.logger import set_logger_level

    set_logger_level("error")
    rapl, second = IntelRAPL(rapl_include_dram=True), Time.from_seconds(1)
    rapl.start()
    return lambda: rapl.get_cpu_details(second), len(rapl._rapl_files)


def zeus(_folder: str) -> tuple[Read, int]:
    from zeus.device.cpu.rapl import RAPLCPUs

    cpus = RAPLCPUs().cpus
    first = [cpu.get_total_energy_consumption() for cpu in cpus]  # starts its watching processes
    domains = sum(1 + (measured.dram_mj is not None) for measured in first)
    return lambda: [cpu.get_total_energy_consumption() for cpu in cpus], domains


WAYS: dict[str, Callable[[str], tuple[Read, int]]] = {
    "ours": ours,
    "ours_plain": ours_plain,
    "files": files,
    "pyrapl": pyrapl,
    "pyjoules": pyjoules,
    "codecarbon": codecarbon,
    "zeus": zeus,
}


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a reader prints is no answer
    read, domains = WAYS[sys.argv[1]](sys.argv[2])
    print("ready", domains, file=answers, flush=True)
    for line in sys.stdin:
        calls = int(line)
        begun = time.thread_time_ns()
        for _ in range(calls):
            read()
        print((time.thread_time_ns() - begun) / calls, file=answers, flush=True)


if __name__ == "__main__":
    main()
