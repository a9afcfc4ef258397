"""The CPU quota around this process: read from v1 and v2 groups, counted by `all`, told by doctor, flagged in runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from energy_fakes import fake_roots, put, put_broadwell_ep

from bayestuner.measure.cgroup.hierarchy import discover
from bayestuner.measure.doctor.probe import probe
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.quota import CpuQuota, Periods, cpu_quota
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.conditions import Conditions

JOB = '[job]\ncommand = ["true"]\n[knobs]\ncores = { kind = "cores", min = 1, max = "all" }\n[goal]\nminimize = "cores"\n'


def proc(folder, membership, mounts):
    put(folder / "self/cgroup", membership)
    put(folder / "self/mountinfo", mounts)
    return folder


def on_v2(folder, quotas, stat=""):
    """A process in the innermost of nested v2 groups, given by the texts of their cpu.max (None: there is no such file)."""
    path = folder / "cg"
    for depth, text in enumerate(quotas):
        path = path / f"g{depth}" if depth else path
        put(path / "cpu.stat", stat)
        if text is not None:
            put(path / "cpu.max", text)
    inside = "/" + "/".join(f"g{depth}" for depth in range(1, len(quotas)))
    return proc(folder / "proc", f"0::{inside}\n", f"30 20 0:30 / {folder}/cg rw - cgroup2 cgroup2 rw\n")


@pytest.mark.parametrize(
    ("quotas", "cpus"),
    [
        ([None, "max 100000"], None),
        ([None, "60000 100000"], 0.6),
        ([None, "150000 100000", "max 100000"], 1.5),
        ([None, "150000 100000", "400000 100000", "max 100000"], 1.5),
        ([None, "nonsense", "1 0"], None),
    ],
)
def test_the_lowest_quota_of_a_v2_group_and_those_above_it(tmp_path, quotas, cpus):
    found = cpu_quota(on_v2(tmp_path, quotas))
    assert (None if found is None else found.cpus) == cpus


@pytest.mark.parametrize(("quota_us", "cpus"), [("-1", None), ("60000", 0.6), ("250000", 2.5)])
def test_a_quota_of_v1(tmp_path, quota_us, cpus):
    put(tmp_path / "cpu/docker/cpu.cfs_quota_us", quota_us)
    put(tmp_path / "cpu/docker/cpu.cfs_period_us", "100000")
    put(tmp_path / "cpu/docker/inner/cpu.cfs_quota_us", "-1")
    mounts = f"30 20 0:30 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    found = cpu_quota(proc(tmp_path / "proc", "4:cpu,cpuacct:/docker/inner\n", mounts))
    assert (None if found is None else found.cpus) == cpus


def test_how_many_cpus_can_be_kept_busy():
    assert [CpuQuota(cpus, Path("/")).whole_cpus for cpus in (0.1, 0.6, 1.0, 1.9, 2.0, 7.99)] == [1, 1, 1, 1, 2, 7]


@pytest.mark.parametrize(("cpus", "most"), [(0.6, 1), (2.5, 2), (64.0, 8), (None, 8)])
def test_all_cores_are_no_more_than_the_quota_pays_for_but_more_may_be_asked_for(tmp_path, monkeypatch, cpus, most):
    quota = None if cpus is None else CpuQuota(cpus, Path("/cg"))
    monkeypatch.setattr("bayestuner.measure.job.parser.cpu_quota", lambda: quota)
    topology = read_topology(tmp_path, usable=range(8))
    text = JOB + "[measure]\nhousekeeping_cores = 0\n"
    assert parse_job(text, tmp_path / "job.toml", topology=topology).all_max_config() == {"cores": most}
    named = parse_job(text.replace('"all"', "8"), tmp_path / "job.toml", topology=topology)
    assert named.all_max_config() == {"cores": 8}


def test_doctor_names_it(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    assert not any(item.what == "no CPU quota" for item in probe(roots=roots, idle_s=0).items)
    on_v2(tmp_path / "machine", [None, "60000 100000"])
    for name in ("cgroup", "mountinfo"):
        put(roots.proc_path(f"self/{name}"), (tmp_path / f"machine/proc/self/{name}").read_text())
    report = probe(roots=roots, idle_s=0)
    line = next(item for item in report.items if item.what == "no CPU quota")
    assert "g1 allows the time of 0.6 CPUs" in line.reason
    assert "--cpus" in line.remedy
    assert "quota" not in report.verdict


def test_a_run_knows_in_how_many_periods_it_was_stopped(tmp_path):
    class Group:
        """A DOUBLE of a run's group, without counters."""

        def memory_stress(self):
            raise OSError("gone")

    stat = "usage_usec 5\nnr_periods {}\nnr_throttled {}\nthrottled_usec 9\n"
    roots = fake_roots(tmp_path)
    machine = on_v2(tmp_path / "machine", [None, "60000 100000"], stat.format(100, 7))
    for name in ("cgroup", "mountinfo"):
        put(roots.proc_path(f"self/{name}"), (machine / f"self/{name}").read_text())
    conditions = Conditions(Group(), (0,), roots)
    put(tmp_path / "machine/cg/g1/cpu.stat", stat.format(150, 47))
    conditions.sample(last=True)
    assert conditions.changes(0, 10**18).quota_share == 0.8


def writable_cpu_group():
    own = discover().quota
    return None if own is None or own.mount.read_only or os.geteuid() != 0 else own.folder


@pytest.mark.cgroup
@pytest.mark.skipif(writable_cpu_group() is None, reason="needs root and the cpu controller of cgroup v1")
def test_the_kernels_own_quota_and_its_count_of_periods():
    folder = writable_cpu_group() / f"bayestuner-test-quota-{os.getpid()}"
    folder.mkdir()
    code = (
        "import time\nfrom bayestuner.measure.machine.quota import cpu_quota\nquota = cpu_quota()\nbefore = quota.periods()\n"
        "end = time.monotonic() + 1.0\nwhile time.monotonic() < end: pass\n"
        "after = quota.periods()\nprint(quota.cpus, after.active > before.active, after.stopped > before.stopped)"
    )
    try:
        (folder / "cpu.cfs_quota_us").write_text("30000")
        inside = f'echo $$ > {folder}/cgroup.procs; exec "$0" -c "$1"'
        done = subprocess.run(["sh", "-c", inside, sys.executable, code], capture_output=True, text=True, timeout=60, check=False)
    finally:
        folder.rmdir()
    assert done.stdout.split() == ["0.3", "True", "True"], done.stderr


def test_without_a_quota_there_are_no_periods(tmp_path):
    assert CpuQuota(1.0, tmp_path).periods() is None
    put(tmp_path / "cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 9")
    assert CpuQuota(1.0, tmp_path).periods() == Periods(5, 2)
