"""What `bayestuner doctor` says of a server's knobs and its noise, and to an ordinary user; the energy below the drivers is made up."""

import json
import subprocess
import sys

import pytest
from vm.injector import Drivers

from bayestuner.measure.doctor.probe import probe
from bayestuner.report.doctor import doctor_text

pytestmark = pytest.mark.vm


def items(report):
    return {item.what: item for item in report.items}


def test_a_server_with_everything_but_a_clock():
    with Drivers("unlocked=1"):
        report = probe(idle_s=3.0)
    print("\n" + doctor_text(report))  # for whoever runs it with -s
    found = items(report)
    assert all(found[source].usable for source in ("perf", "powercap", "msr"))
    assert report.boundary == "pkg+dram"
    assert found["power_cap"].detail == "2 package(s), up to 120 W each"
    assert found["CPU cores (cpuset)"].detail.startswith('cgroup-v2; "all" is 4 CPU(s)')
    assert not found["cpu_frequency"].usable
    assert not found["smt"].usable
    assert (report.machine["packages"], report.machine["numa_nodes"]) == (2, 2)
    assert report.noise.idle_power_w == pytest.approx(210.0, rel=0.05)


AS_NOBODY = """
import json, os
from bayestuner.measure.doctor.probe import probe
from bayestuner.report.doctor import doctor_text
probe(idle_s=0)  # everything is imported before the interpreter's own files may be out of reach
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
os.environ["HOME"] = "/nonexistent"
report = probe(idle_s=0)
print(json.dumps({i.what: [i.usable, i.reason, i.remedy] for i in report.items}))
print(doctor_text(report))
"""


def test_an_ordinary_user_is_told_the_one_thing_that_each_needs():
    with Drivers("unlocked=1"):
        done = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, _, text = done.stdout.partition("\n")
    print("\n" + text)
    found = json.loads(first)
    needs = {
        "perf": "sudo sysctl kernel.perf_event_paranoid=0",
        "powercap": "sudo find /sys/devices/virtual/powercap -name energy_uj",
        "msr": "run as root and give the job a user ([job] user)",
        "power_cap": "sudo find /sys/devices/virtual/powercap '(' -name 'constraint_*_power_limit_uw'",
        "[job] user": "sudo bayestuner tune",
        "CPU cores (cpuset)": "systemd-run --user --scope -p Delegate=yes",
    }
    for what, remedy in needs.items():
        assert found[what][0] is False, what
        assert remedy in found[what][2], (what, found[what])
