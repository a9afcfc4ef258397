"""Settings of the machine over the kernel's own drivers, on a server of two packages and two nodes: power limits, cores, another user.

The powercap driver and its files are real, and so are cpusets and the change of user; the energy, and that it keeps to a limit, is
injected below them by tests/vm/module.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from vm.injector import Drivers

from bayestuner.measure.actuators.power_cap import open_power_cap
from bayestuner.measure.actuators.registry import undo_left_behind
from bayestuner.measure.actuators.setting import KnobFault, OpenKnob, Settings
from bayestuner.measure.cgroup.isolation import Launch, Limits, Refused
from bayestuner.measure.cgroup.select import open_isolation
from bayestuner.measure.job.user import access_problem, credentials_of
from bayestuner.measure.machine.core_order import CorePolicy
from bayestuner.measure.machine.topology import read_topology

pytestmark = pytest.mark.vm
WINDOW_S = 2.0


@pytest.fixture
def unlocked():
    """Drivers over counters that keep to limits."""
    with Drivers("unlocked=1") as drivers:
        yield drivers


def limits_w():
    """What the kernel says every package's long-term limit is."""
    zones = Path("/sys/class/powercap").glob("intel-rapl:[0-9]")
    return {(zone / "name").read_text().strip(): int((zone / "constraint_0_power_limit_uw").read_text()) / 1e6 for zone in zones}


def capped(folder, watts):
    knob = OpenKnob("cap_w", "power_cap", open_power_cap(), 1e6, "")
    return Settings([knob], {"cap_w": watts}, (0,), folder)


def watts(meter, seconds=WINDOW_S):
    first = meter.read()
    time.sleep(seconds)
    last = meter.read()
    return meter.energy_j(first, last) / ((last.stamp_ns - first.stamp_ns) / 1e9)


def test_a_limit_is_taken_by_the_powercap_driver_read_back_and_put_back(unlocked, tmp_path):
    assert limits_w() == {"package-0": 120.0, "package-1": 120.0}
    settings = capped(tmp_path, 60)
    settings.apply()
    assert limits_w() == {"package-0": 60.0, "package-1": 60.0}
    assert [(s["asked"], s["got"], s["before"]) for s in settings.record] == [("60000000", "60000000", "120000000")] * 2
    assert settings.restore() == []
    assert limits_w() == {"package-0": 120.0, "package-1": 120.0}


def test_the_driver_rounds_to_an_eighth_of_a_watt_and_what_it_holds_is_recorded(unlocked, tmp_path):
    settings = capped(tmp_path, 60.2)
    settings.apply()
    got = {s["got"] for s in settings.record}
    settings.restore()
    assert got == {"60125000"}


def test_the_meter_sees_the_limit(unlocked, opened, tmp_path):
    """100 + 80 W of packages and 30 W of memory are injected; 60 W a package leave 150."""
    meter = opened("powercap")
    assert watts(meter) == pytest.approx(210.0, rel=0.02)
    settings = capped(tmp_path, 60)
    settings.apply()
    try:
        assert watts(meter) == pytest.approx(150.0, rel=0.02)
    finally:
        settings.restore()
    assert watts(meter) == pytest.approx(210.0, rel=0.02)


def test_a_limit_that_the_firmware_has_locked_is_refused_by_the_kernel_and_said(drivers, tmp_path):
    settings = capped(tmp_path, 60)
    with pytest.raises(KnobFault, match="a limit that the firmware has locked"):
        settings.apply()
    settings.restore()
    assert limits_w() == {"package-0": 120.0, "package-1": 120.0}


def test_what_a_killed_tuner_left_is_put_back(unlocked, tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESTUNER_RUNTIME_DIR", str(tmp_path / "run"))
    code = (
        "import os, signal\n"
        "from bayestuner.measure.actuators.power_cap import open_power_cap\n"
        "from bayestuner.measure.actuators.setting import OpenKnob, Settings\n"
        "from bayestuner.measure.machine.runtime import make_runtime_folder\n"
        "knob = OpenKnob('cap_w', 'power_cap', open_power_cap(), 1e6, '')\n"
        "Settings([knob], {'cap_w': 70}, (0,), make_runtime_folder()).apply()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == -signal.SIGKILL
    assert limits_w() == {"package-0": 70.0, "package-1": 70.0}
    done, failed = undo_left_behind()
    assert (len(done), failed) == (2, [])
    assert limits_w() == {"package-0": 120.0, "package-1": 120.0}


def test_without_counters_there_is_no_limit_either():
    with pytest.raises(Refused) as caught:
        open_power_cap()
    assert caught.value.refusal.remedy


def test_cores_are_chosen_by_package_and_node_and_the_kernel_takes_them():
    for placement, nodes in (("compact", [(0,), (0,), (0, 1), (0, 1)]), ("spread", [(0,), (0, 1), (0, 1), (0, 1)])):
        topology = read_topology(policy=CorePolicy(placement))
        assert topology.packages == (0, 1)
        isolation, _ = open_isolation(frozenset({"cores", "memory"}))
        for count in range(1, 5):
            cpus = topology.pick_cpus(count)
            assert topology.memory_nodes_of(cpus) == nodes[count - 1], (placement, count)
            mems = topology.memory_nodes_for(cpus, 64 << 20)
            with isolation.create(Limits(cpuset_cpus=cpus, cpuset_mems=mems, memory_max=64 << 20)) as group:
                assert (group.actual.cpuset_cpus, group.actual.cpuset_mems) == (cpus, mems)


def test_a_limit_larger_than_what_a_node_has_free_takes_the_other_as_well():
    topology = read_topology()
    assert topology.memory_nodes_for((0,), 64 << 20) == (0,)
    assert topology.memory_nodes_for((0,), 1200 << 20) == (0, 1)


def test_a_job_is_born_in_its_group_as_another_user(tmp_path):
    """clone3 puts it there as root; it has no way out, nor back."""
    pythons = [path for path in map(Path, ("/usr/bin/python3", "/usr/local/bin/python3")) if path.exists()]
    python = next(str(path) for path in pythons if access_problem(path, "nobody") is None)
    code = (
        "import os\n"
        "print(os.getuid(), open('/proc/self/cgroup').read().strip().rpartition('/')[2].startswith('bayestuner-'))\n"
        "try: open('/sys/fs/cgroup/cgroup.procs', 'w').write('0')\n"
        "except OSError: print('refused')\n"
        "try: os.setuid(0)\n"
        "except OSError: print('refused')\n"
    )
    isolation, _ = open_isolation(frozenset({"cores"}))
    with isolation.create(Limits(cpuset_cpus=(1,))) as group, (tmp_path / "out").open("wb") as out:
        argv = [python, "-I", "-S", "-c", code]
        child = group.launch(Launch(argv, {}, "/", out.fileno(), out.fileno(), credentials=credentials_of("nobody")))
        assert child.wait(300) == 0, (tmp_path / "out").read_text()
    assert (tmp_path / "out").read_text().split() == [str(credentials_of("nobody").uid), "True", "refused", "refused"]
    assert os.geteuid() == 0
