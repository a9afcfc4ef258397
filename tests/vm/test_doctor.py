"""What `bayestuner doctor` says of a server that has everything, and of one whose counters read 0."""

import json
import subprocess
import sys

import pytest
from vm.injector import Drivers

pytestmark = pytest.mark.vm


def items():
    """What it looked at, by name; the table as people see it is printed too, for whoever runs this with -s."""
    done = subprocess.run([sys.executable, "-m", "bayestuner", "doctor", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for item in report["items"]:
        print(item["group"], item["what"], item["usable"], item["detail"] or item["reason"], sep=" | ")
    return report, {item["what"]: item for item in report["items"]}


def test_every_meter_and_every_limit_is_usable():
    with Drivers(""):
        report, found = items()
    for source in ("perf", "powercap", "msr"):
        assert found[source]["usable"]
        assert "package-0, dram-0, package-1, dram-1" in found[source]["detail"]
    assert "DRAM unit fixed at 15.3 uJ for Skylake-SP" in found["msr"]["detail"]
    for limit in ("CPU cores (cpuset)", "memory limit"):
        assert found[limit]["usable"]
        assert found[limit]["detail"].startswith("cgroup-v2")
    assert "measured by perf" in report["verdict"]
    assert report["boundary"] == "pkg+dram"
    machine = report["machine"]
    assert (machine["packages"], machine["numa_nodes"], machine["cores"], machine["virtual"]) == (2, 2, 4, True)


def test_without_counters_it_says_why_and_offers_the_estimate():
    with Drivers():
        report, found = items()
    for source in ("perf", "powercap", "msr"):
        assert not found[source]["usable"]
        assert "virtual machine, which hides the energy counters" in found[source]["remedy"]
    assert "energy unit register reads 0x0" in found["msr"]["reason"]
    assert "no power meter works here" in report["verdict"]
