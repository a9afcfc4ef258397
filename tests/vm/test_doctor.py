"""What `bayestuner doctor` finds out about meters and limits, with counters and without; the rest of it is in test_doctor_knobs.py."""

import pytest
from vm.injector import Drivers

from bayestuner.measure.doctor.probe import probe

pytestmark = pytest.mark.vm
SOURCES = ("perf", "powercap", "msr")


def test_every_meter_and_every_limit_is_usable():
    with Drivers(""):
        report = probe(idle_s=0)
    found = {item.what: item for item in report.items}
    for source in SOURCES:
        assert found[source].usable
        assert "package-0, dram-0, package-1, dram-1" in found[source].detail
    assert "DRAM unit fixed at 15.3 uJ for Skylake-SP" in found["msr"].detail
    for limit in ("CPU cores (cpuset)", "memory limit"):
        assert found[limit].usable
        assert found[limit].detail.startswith("cgroup-v2")
    assert "measured by perf" in report.verdict
    assert report.machine["virtual"]


def test_without_counters_it_says_why_and_offers_the_estimate():
    with Drivers():
        report = probe(idle_s=0)
    found = {item.what: item for item in report.items}
    for source in SOURCES:
        assert not found[source].usable
        assert "virtual machine, which hides the energy counters" in found[source].remedy
    assert "energy unit register reads 0x0" in found["msr"].reason
    assert "no power meter works here" in report.verdict
