"""The probe runs on any machine, says why for everything missing, and its form is JSON."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from actuator_fakes import server
from energy_fakes import SERVER_REGISTERS, MsrFile, fake_roots, moving_msr, put, put_broadwell_ep
from topology_trees import tree

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.doctor import probe as probe_module
from bayestuner.measure.doctor.knobs import knob_items
from bayestuner.measure.doctor.probe import probe
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.machine.lock import machine_lock
from bayestuner.measure.machine.noise import measure_noise
from bayestuner.measure.machine.topology import read_topology
from bayestuner.report.doctor import doctor_text


@pytest.fixture
def public_folder():
    """A folder every user may enter; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_every_unusable_thing_says_why_and_what_to_do():
    report = probe(idle_s=0.1)
    assert {i.group for i in report.items} == {"meter", "limit", "knob", "extension", "extra", "folder"}
    assert [i.what for i in report.items if i.group == "meter"] == ["perf", "powercap", "msr", "model"]
    for item in report.items:
        assert item.usable or (item.reason and item.remedy), item
    assert 0 <= report.outside_load <= 1
    assert json.loads(json.dumps(report.as_dict()))["verdict"] == report.verdict


def test_without_a_meter_the_verdict_names_what_can_be_measured(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    report = probe(roots=roots, idle_s=0)
    assert "cpu_s_per_item" in report.verdict
    assert report.outside_load is None
    assert report.machine["cpu"].startswith("Intel(R) Xeon(R) CPU E5-2680 v4")


def test_a_missing_extension_is_said_with_what_is_lost(monkeypatch):
    monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    item = next(i for i in probe(idle_s=0).items if i.group == "extension")
    assert not item.usable
    assert "perf events" in item.reason


def item(report, what):
    return next(i for i in report.items if i.what == what)


def test_a_server_with_a_meter_can_minimise_power(tmp_path):
    """Synthetic registers; the rest of the probe is real."""
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    one, two = MsrFile(roots, 0, SERVER_REGISTERS), MsrFile(roots, 1, SERVER_REGISTERS)
    with moving_msr({"a": (one, 0x611), "b": (one, 0x619), "c": (two, 0x611), "d": (two, 0x619)}):
        report = probe(roots=roots, idle_s=0)
    assert report.boundary == "pkg+dram"
    assert report.verdict.startswith("power_w can be minimised here, measured by msr")
    assert item(report, "msr").detail.startswith("pkg+dram: package-0, dram-0, package-1, dram-1; DRAM unit fixed at 15.3 uJ")
    assert report.machine["virtual"] is False


def test_a_virtual_machine_is_known_by_its_flag_or_by_dmi(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    assert not probe(roots=roots, idle_s=0).machine["virtual"]
    put(roots.sys_path("class/dmi/id/sys_vendor"), "QEMU")
    assert probe(roots=roots, idle_s=0).machine["virtual"]
    put(roots.sys_path("class/dmi/id/sys_vendor"), "Dell Inc.")
    put_broadwell_ep(roots, virtual=True)
    assert probe(roots=roots, idle_s=0).machine["virtual"]


def test_limits_that_cannot_be_set_give_the_line_to_run(monkeypatch):
    def refuse(needs, **_):
        raise IsolationUnavailable("limits can't be set here")

    monkeypatch.setattr(probe_module, "open_isolation", refuse)
    report = probe(idle_s=0)
    memory = item(report, "memory limit")
    assert not memory.usable
    assert "systemd-run" in memory.remedy
    assert "not possible: CPU cores (cpuset), memory limit" in report.verdict
    assert item(report, "affinity fallback").usable


def test_a_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setattr(probe_module.importlib.util, "find_spec", lambda name: None)
    missing = item(probe(idle_s=0), "[zoo]")
    assert (missing.usable, missing.remedy) == (False, "pip install 'bayestuner[zoo]'")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "cache"))
    assert item(probe(idle_s=0), "compiled-code cache").detail == str(tmp_path / "cache" / "compiled")
    assert not (tmp_path / "cache").exists()  # looking makes nothing


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")  # a file where the folder should be: not even root can write into it
    monkeypatch.setenv("BAYESTUNER_CACHE", str(file))
    assert "BAYESTUNER_CACHE" in item(probe(idle_s=0), "compiled-code cache").remedy


def test_a_cache_that_others_can_write_is_not_trusted(monkeypatch, tmp_path):
    """Its machine code is run by whoever finds it."""
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled").chmod(0o777)
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path))
    found = item(probe(idle_s=0), "compiled-code cache")
    assert (found.usable, found.remedy.startswith(f"chmod go-w {tmp_path / 'compiled'}")) == (False, True)


def test_every_folder_whose_content_is_believed_has_its_verdict(monkeypatch, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "open"))
    monkeypatch.setenv("BAYESTUNER_RUNTIME_DIR", str(tmp_path / "open"))
    monkeypatch.chdir(tmp_path / "open")
    folders = [i for i in probe(idle_s=0).items if i.group == "folder"]
    assert [i.what for i in folders] == ["compiled-code cache", "zoo models", "lock and journal", "studies made here"]
    assert [i.usable for i in folders] == [False] * 4
    assert all(i.remedy.startswith(f"chmod go-w {tmp_path / 'open'}, or ") for i in folders)
    (tmp_path / "open").chmod(0o700)
    assert all(i.usable for i in probe(idle_s=0).items if i.group == "folder")


def test_the_outside_load_is_a_share_or_none(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    assert probe(roots=roots, idle_s=0.01).outside_load is None  # no /proc/stat there


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_for_an_ordinary_user_whose_home_is_closed(public_folder):
    """As nobody, with somebody else's HOME: nothing raises, and every line says what to do."""
    home = public_folder / "home"
    home.mkdir(mode=0o700)
    code = (
        "import json, os, sys\n"
        "from bayestuner.measure.doctor.probe import probe\n"
        "probe(idle_s=0)\n"  # everything is imported before the interpreter's own files may be out of reach
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "print(json.dumps(probe(idle_s=0).as_dict()))\n"
    )
    environment = {"PATH": os.defpath, "HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    items = {i["what"]: i for i in json.loads(done.stdout)["items"]}
    assert not items["compiled-code cache"]["usable"]
    assert "BAYESTUNER_CACHE" in items["compiled-code cache"]["remedy"]
    assert all(i["usable"] or (i["reason"] and i["remedy"]) for i in items.values())
    assert items["memory limit"]["usable"] or "systemd-run" in items["memory limit"]["remedy"]


# -- knobs, platforms, noise, what was left set ---------------------------------------------------------------------------


def test_a_server_says_what_its_clocks_and_limits_can_be_set_to(tmp_path):
    """A fake tree; SMT is that of the tree too."""
    report = probe(roots=server(tmp_path), idle_s=0)
    assert item(report, "cpu_frequency").detail == "1200 to 3300 MHz; 8 clock(s)"
    assert item(report, "power_cap").detail == "2 package(s), up to 120 W each"


def test_smt_says_which_switch_keeps_it_off(tmp_path):
    """Trees of one socket with four CPUs."""
    alone = tree(tmp_path / "off", {n: (0, 0, (n,)) for n in range(4)})
    put(alone / "devices/system/cpu/smt/control", "off")
    pairs = tree(tmp_path / "on", {n: (0, 0, (n % 2, n % 2 + 2)) for n in range(4)})
    put(pairs / "devices/system/cpu/smt/control", "on")

    def smt(root, usable):
        return knob_items(KernelRoots(sysfs=str(root)), read_topology(root, usable))[0]

    assert (smt(alone, range(4)).usable, smt(alone, range(4)).remedy) == (False, "echo on | sudo tee /sys/devices/system/cpu/smt/control")
    assert (smt(pairs, range(4)).usable, smt(pairs, range(4)).detail) == (True, "second threads of 2 of 2 cores")
    assert "taskset" in smt(pairs, (0, 1)).remedy


def test_installed_platforms_are_listed_with_what_they_offer(tmp_path, monkeypatch):
    """The made-up device of examples/platforms, as an installed package offers it."""
    info = tmp_path / "toy_device-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-device\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bayestuner.platforms]\ntoy = toy_device:Toy\nbroken = no_such_module:X\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples/platforms"))
    (tmp_path / "clock").write_text("900\n")
    monkeypatch.setenv("TOY_DEVICE", str(tmp_path))
    report = probe(idle_s=0)
    assert [(i.what, i.usable, i.detail) for i in report.items if i.group == "platform"] == [
        ("broken", False, ""),
        ("toy.clock", True, "clock of the made-up device"),
        ("toy.energy", True, "meter"),
    ]
    monkeypatch.delenv("TOY_DEVICE")
    assert item(probe(idle_s=0), "toy.clock").remedy.startswith("make one: mkdir toy")


def write_stat(path, busy, idle, steal=0):
    put(path, f"cpu  {busy} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 {steal} 0 0")


@pytest.mark.parametrize(("busy", "steal", "level"), [(0, 0, "quiet"), (3, 0, "some noise"), (30, 0, "noisy"), (0, 5, "noisy")], ids=str)
def test_noise_is_what_others_do_while_we_sleep(tmp_path, monkeypatch, busy, steal, level):
    """A made-up /proc/stat that moves by 100 ticks at every look."""
    stat = tmp_path / "stat"
    now = [0, 0, 0]

    def sleep(seconds):
        now[0], now[1], now[2] = now[0] + busy, now[1] + 100 - busy - steal, now[2] + steal
        write_stat(stat, *now)
        real_sleep(0.001)

    real_sleep = time.sleep
    write_stat(stat, 0, 0)
    monkeypatch.setattr("bayestuner.measure.machine.noise.time.sleep", sleep)
    seen = measure_noise(stat, 0.02)
    assert (seen.level, seen.outside_load, seen.steal) == (level, pytest.approx(busy / 100), pytest.approx(steal / 100))
    assert seen.idle_power_w is None


@contextmanager
def time_goes_by(stat):
    """A machine's /proc/stat whose idle time keeps growing, however late it is looked at."""
    over = threading.Event()

    def go_by():
        idle = 100
        while not over.wait(0.01):
            idle += 1
            write_stat(stat.with_suffix(".next"), 0, idle)
            stat.with_suffix(".next").replace(stat)

    thread = threading.Thread(target=go_by)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_idle_power_is_looked_at_where_there_is_a_meter(tmp_path):
    """Counters that move by themselves; the watts are made up."""
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    write_stat(roots.proc_path("stat"), 0, 100)
    one, two = MsrFile(roots, 0, SERVER_REGISTERS), MsrFile(roots, 1, SERVER_REGISTERS)
    with moving_msr({"a": (one, 0x611), "b": (one, 0x619), "c": (two, 0x611), "d": (two, 0x619)}):
        with time_goes_by(roots.proc_path("stat")):
            report = probe(roots=roots, idle_s=1.2)
    assert report.noise.idle_power_w > 0
    assert report.noise.outside_load == 0
    assert "idle power" in doctor_text(report)


def test_what_a_killed_tuner_left_set_is_put_back_and_said(tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESTUNER_RUNTIME_DIR", str(tmp_path / "run"))
    roots = server(tmp_path / "machine")
    code = (
        "import os, signal, sys\n"
        "from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency\n"
        "from bayestuner.measure.actuators.setting import OpenKnob, Settings\n"
        "from bayestuner.measure.energy.kernel_files import KernelRoots\n"
        "from bayestuner.measure.machine.runtime import make_runtime_folder\n"
        "knob = OpenKnob('c_mhz', 'cpu_frequency', open_cpu_frequency(KernelRoots(*sys.argv[1:])), 1e3, '')\n"
        "Settings([knob], {'c_mhz': 2000}, (0,), make_runtime_folder()).apply()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ceiling = roots.sys_path("devices/system/cpu/cpufreq/policy0/scaling_max_freq")
    done = subprocess.run([sys.executable, "-c", code, roots.sysfs, roots.devcpu, roots.proc], check=False, timeout=120)
    assert (done.returncode, ceiling.read_text()) == (-signal.SIGKILL, "2000000")
    with machine_lock("/studies/x"):  # somebody measures, and put it back when he started
        busy = probe(roots=roots, idle_s=0)
    assert busy.notices == (f"another BayesTuner (process {os.getpid()}, study /studies/x) is measuring on this machine now",)
    assert ceiling.read_text() == "2000000"
    report = probe(roots=roots, idle_s=0)
    assert ceiling.read_text() == "3300000"
    assert len(report.notices) == 1
    assert "is 3300000 again; a BayesTuner that was killed" in report.notices[0]
    assert "note: " in doctor_text(report)
    assert probe(roots=roots, idle_s=0).notices == ()


def test_looking_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESTUNER_RUNTIME_DIR", str(tmp_path / "run"))
    probe(idle_s=0)
    assert not (tmp_path / "run").exists()


def test_the_text_says_the_boundary_of_power_and_keeps_commands_on_one_line(tmp_path):
    roots = server(tmp_path)
    report = probe(roots=roots, idle_s=0)
    text = doctor_text(report, width=80)
    assert "boundary of power: " in text
    assert "noise in" not in text
    for line in report.items:
        if not line.usable and "sudo" in line.remedy:
            assert f"-> {line.remedy}\n" in text
