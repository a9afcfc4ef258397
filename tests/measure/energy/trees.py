"""Fake /sys, /dev/cpu and /proc trees with the shape of real ones. Their values are synthetic; nothing here measures anything."""

import os
import struct
from pathlib import Path

from bayestuner.measure.energy.roots import Roots

CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
flags\t\t: fpu vme {flags}

processor\t: 1
"""

BROADWELL_EP = {"vendor": "GenuineIntel", "family": 6, "model": 0x4F, "name": "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "flags": "msr"}
EPYC = {"vendor": "AuthenticAMD", "family": 0x19, "model": 1, "name": "AMD EPYC 7763", "flags": "msr"}

UNIT_RAW = 0xA0E03  # 1/8 W, 2^-14 J
INFO_RAW = 0x3C0  # TDP 120 W
LIMIT_RAW = (0x8480 << 32) | 0x3C0  # PL2 144 W enabled, PL1 120 W


class Tree:
    """A machine's files below one folder; two packages whose CPUs are numbered even and odd, as on the paper's server."""

    def __init__(self, root: Path, cpu=None, packages=2):
        self.root = root
        self.roots = Roots(str(root / "sys"), str(root / "dev/cpu"), str(root / "proc"), msr_stride=8)
        self.packages = packages
        self.write("proc/cpuinfo", CPUINFO.format(**(cpu or BROADWELL_EP)))
        self.write("proc/stat", "cpu  100 0 50 1000 10 0 5 0 0 0\ncpu0 50 0 25 500 5 0 3 0 0 0\ncpu1 50 0 25 500 5 0 2 0 0 0\n")
        for n in range(4):
            base = f"sys/devices/system/cpu/cpu{n}/topology"
            self.write(f"{base}/physical_package_id", f"{n % packages}\n")
            self.write(f"{base}/core_id", f"{n // packages}\n")
            self.write(f"{base}/die_id", f"{n % packages}\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    # -- powercap -----------------------------------------------------------------------------------------------------

    def zone(self, number, name, *, parent=None, energy_uj=1000, range_uj=262143328850, link=True):
        """One zone: its nested device folder and its flat link in the class folder."""
        zone = f"intel-rapl:{number}"
        above = f"intel-rapl:{parent}/" if parent is not None else ""
        folder = f"sys/devices/virtual/powercap/intel-rapl/{above}{zone}"
        self.write(f"{folder}/name", f"{name}\n")
        self.write(f"{folder}/max_energy_range_uj", f"{range_uj}\n")
        self.write(f"{folder}/enabled", "0\n")
        self.write(f"{folder}/uevent", "")
        self.write(f"{folder}/power/runtime_status", "unsupported\n")
        if energy_uj is not None:
            self.write(f"{folder}/energy_uj", f"{energy_uj}\n")
        if parent is None:
            for i, (kind, watts) in enumerate((("long_term", 120), ("short_term", 144))):
                self.write(f"{folder}/constraint_{i}_name", f"{kind}\n")
                self.write(f"{folder}/constraint_{i}_power_limit_uw", f"{watts * 10**6}\n")
                self.write(f"{folder}/constraint_{i}_max_power_uw", f"{120 * 10**6 if i == 0 else 0}\n")
        if link:
            flat = self.root / "sys/class/powercap"
            flat.mkdir(parents=True, exist_ok=True)
            (flat / zone).symlink_to(os.path.relpath(self.root / folder, flat))
        return self.root / folder

    def server_zones(self):
        """Two packages with a dram zone each, psys at number 1, an mmio twin, a zone without energy_uj: the traps of real trees."""
        self.write("sys/class/powercap/README", "not a zone\n")
        zones = {"package-0": self.zone("0", "package-0")}
        self.zone("1", "psys")
        zones["package-1"] = self.zone("2", "package-1")
        zones["dram-0"] = self.zone("0:0", "dram", parent="0", range_uj=65712999613)
        zones["dram-1"] = self.zone("2:0", "dram", parent="2", range_uj=65712999613)
        self.zone("0:1", "core", parent="0", energy_uj=None)
        mmio = self.write("sys/devices/virtual/powercap/intel-rapl-mmio/intel-rapl-mmio:0/name", "package-0\n").parent
        (mmio / "energy_uj").write_text("5\n")
        (self.root / "sys/class/powercap/intel-rapl-mmio:0").symlink_to(mmio)
        (self.root / "sys/class/powercap/intel-rapl:9").symlink_to(self.root / "nowhere")
        return zones

    # -- msr ----------------------------------------------------------------------------------------------------------

    def msr(self, cpu, registers):
        """A sparse file of registers, eight bytes apart."""
        file = self.root / f"dev/cpu/{cpu}/msr"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as f:
            for number, value in registers.items():
                f.seek(number * 8)
                f.write(struct.pack("<Q", value))
        return file

    def set_register(self, cpu, number, value):
        with (self.root / f"dev/cpu/{cpu}/msr").open("r+b") as f:
            f.seek(number * 8)
            f.write(struct.pack("<Q", value))
