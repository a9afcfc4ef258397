"""The probe runs on any machine, says why for everything missing, and its form is JSON."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from energy_fakes import SERVER_REGISTERS, MsrFile, fake_roots, moving_msr, put, put_broadwell_ep

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure import probe as probe_module
from bayestuner.measure.probe import probe


@pytest.fixture
def public_folder():
    """A folder every user may enter; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_every_unusable_thing_says_why_and_what_to_do():
    report = probe(idle_s=0.1)
    assert {i.group for i in report.items} == {"meter", "limit", "extension", "extra"}
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
        "from bayestuner.measure.probe import probe\n"
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
