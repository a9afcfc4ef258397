"""cgroup v2 limits against a stand-in for the kernel, for machines whose controllers are bound to v1.

The stand-in keeps real files in a temporary folder and does to them what the kernel was seen to do in a virtual machine with cgroup v2
(orders, errnos, rounding, narrowing). It proves which bytes we write where and what we make of the answers, and nothing about the kernel.
"""

import errno
import os
import shutil
from pathlib import Path

import pytest

from bayestuner.measure.cgroup.cpulist import format_list, parse_list
from bayestuner.measure.cgroup.delegation import NotDelegated, prepare_base
from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.cgroup.hierarchy import Mount, OwnGroup
from bayestuner.measure.cgroup.isolation import GroupFault, GroupUsage, Limits, MemoryStress
from bayestuner.measure.cgroup.names import SUPERVISOR
from bayestuner.measure.cgroup.v2 import V2Isolation

MIB = 2**20
ONLINE = (0, 1, 2, 3)
FILES_OF = {
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": "", "cpuset.cpus.effective": "0-3", "cpuset.mems.effective": "0-1"},
    "memory": {
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.oom.group": "0",
        "memory.peak": "12345",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
    },
    "pids": {"pids.max": "max"},
    "": {"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.kill": "", "cgroup.type": "domain", "cpu.stat": "usage_usec 2500000\n"},
}


def error(number, path):
    return OSError(number, os.strerror(number), str(path))


class FakeKernel(CgroupFiles):
    """A v2 hierarchy in `top`; `without` are files that this kernel doesn't have, `attributes` the extended ones by folder."""

    def __init__(self, top, controllers="cpuset cpu memory pids", without=(), attributes=None):
        self.top, self.without, self.attributes = top, set(without), attributes or {}
        self.writes = []
        top.mkdir()
        self._populate(top, controllers)
        (top / "cgroup.type").unlink()  # the root group has none

    def _populate(self, path, controllers):
        (path / "cgroup.controllers").write_text(controllers + "\n")
        for controller in ("", *controllers.split()):
            for name, text in FILES_OF.get(controller, {}).items():
                if name not in self.without:
                    (path / name).write_text(text)

    def make(self, path):
        super().make(path)
        self._populate(path, (path.parent / "cgroup.subtree_control").read_text().strip())
        above = path.parent / "cgroup.type"
        if above.exists() and above.read_text().strip() != "domain":
            (path / "cgroup.type").write_text("domain invalid\n")

    def remove(self, path):
        if (path / "cgroup.procs").read_text() or any(entry.is_dir() for entry in path.iterdir()):
            raise error(errno.EBUSY, path)
        shutil.rmtree(path)

    def attribute(self, path, name):
        return self.attributes.get((path.name, name))

    def write(self, path, value):
        if not path.exists():
            raise error(errno.ENOENT, path)
        self.writes.append((path.name, value))
        special = getattr(self, "_" + path.name.replace(".", "_"), None)
        if special:
            special(path, value)
        else:
            path.write_text(value + "\n")

    def _cgroup_subtree_control(self, path, value):
        names = {name.removeprefix("+") for name in value.split()}
        available = set((path.parent / "cgroup.controllers").read_text().split())
        if not names <= available:
            raise error(errno.ENOENT, path)
        if path.parent != self.top and (path.parent / "cgroup.procs").read_text():
            if names - {"cpuset", "cpu", "pids"}:
                raise error(errno.EBUSY, path)
            (path.parent / "cgroup.type").write_text("domain threaded\n")
        path.write_text(" ".join(sorted(names | set(path.read_text().split()))) + "\n")

    def _cgroup_procs(self, path, value):
        if (path.parent / "cgroup.type").exists() and "invalid" in (path.parent / "cgroup.type").read_text():
            raise error(errno.EOPNOTSUPP, path)
        for other in self.top.rglob("cgroup.procs"):
            other.write_text("".join(line for line in other.read_text().splitlines(True) if line.strip() != value))
        path.write_text(path.read_text() + value + "\n")

    def _cgroup_kill(self, path, value):
        assert value == "1"
        (path.parent / "cgroup.procs").write_text("")

    def _cpuset_cpus(self, path, value):
        if any(cpu > 7 for cpu in parse_list(value)):
            raise error(errno.ERANGE, path)
        path.write_text(value + "\n")
        effective = set(parse_list(value)) & set(ONLINE)  # accepted and silently narrowed: the kernel's way
        path.with_name("cpuset.cpus.effective").write_text(format_list(effective) + "\n")

    def _cpuset_mems(self, path, value):
        path.write_text(value + "\n")
        path.with_name("cpuset.mems.effective").write_text(value + "\n")

    def _memory_max(self, path, value):
        path.write_text(f"{int(value) // 4096 * 4096}\n")


@pytest.fixture
def kernel(tmp_path):
    return FakeKernel(tmp_path / "cgroup")


@pytest.fixture
def proc(tmp_path):
    """A procfs with the one file that is read from it here: swap is on."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "swaps").write_text("Filename Type Size Used Priority\n/dev/sda2 partition 8 0 -2\n")
    return tmp_path / "proc"


def isolation_in(kernel, proc=Path("/proc")):
    base, controllers = prepare_base(place(kernel.top, kernel), frozenset({"cpuset", "memory"}), kernel, systemd=False)
    kernel.writes.clear()
    return V2Isolation(base, kernel.top, controllers, kernel, proc)


def place(folder, kernel):
    return OwnGroup(folder, Mount(2, kernel.top, "/"))


def test_the_exact_bytes_in_their_order(kernel):
    isolation = isolation_in(kernel)
    assert isolation.controls == {"cores", "memory"}
    with isolation.create(Limits(cpuset_cpus=(1, 2, 3), cpuset_mems=(1,), memory_max=50_000_001, pids_max=64)) as group:
        assert kernel.writes == [
            ("cpuset.mems", "1"),
            ("cpuset.cpus", "1-3"),
            ("memory.swap.max", "0"),
            ("memory.max", "50000001"),
            ("memory.oom.group", "1"),
            ("pids.max", "64"),
        ]
        assert group.actual == Limits((1, 2, 3), (1,), 49_999_872, 64)
    assert [entry.name for entry in kernel.top.iterdir() if entry.is_dir()] == []


def test_nothing_asked_nothing_written(kernel):
    with isolation_in(kernel).create(Limits(pids_max=None)) as group:
        assert kernel.writes == []
        assert group.actual.memory_max is None


def test_cpus_that_the_kernel_silently_drops_are_refused(kernel):
    with pytest.raises(GroupFault, match=r"cpuset\.cpus\.effective holds CPUs \(3,\) after \(3, 4\) were asked for"):
        isolation_in(kernel).create(Limits(cpuset_cpus=(3, 4)))
    assert [entry.name for entry in kernel.top.iterdir() if entry.is_dir()] == []


def test_cpus_that_do_not_exist(kernel):
    with pytest.raises(GroupFault, match=r"cpuset\.cpus"):
        isolation_in(kernel).create(Limits(cpuset_cpus=(99,)))


def test_a_limit_that_an_ancestor_undercuts_is_refused(kernel):
    kernel.make(kernel.top / "outer")
    isolation_in(kernel)
    (kernel.top / "outer" / "memory.max").write_text(f"{64 * MIB}\n")
    isolation = V2Isolation(kernel.top / "outer", kernel.top, frozenset({"memory"}), kernel)
    (kernel.top / "outer" / "cgroup.subtree_control").write_text("memory\n")
    with pytest.raises(GroupFault, match=rf"outer/memory\.max allows only {64 * MIB}"):
        isolation.create(Limits(memory_max=128 * MIB))
    with isolation.create(Limits(memory_max=64 * MIB)) as group:
        assert group.actual.memory_max == 64 * MIB


@pytest.mark.parametrize("swap", [True, False])
def test_without_swap_accounting_only_a_machine_without_swap_will_do(tmp_path, proc, swap):
    kernel = FakeKernel(tmp_path / "old", without={"memory.swap.max"})
    if not swap:
        (proc / "swaps").write_text("Filename Type Size Used Priority\n")
    isolation = isolation_in(kernel, proc)
    if swap:
        with pytest.raises(GroupFault, match=r"memory\.swap\.max can't be set.*swapoff -a"):
            isolation.create(Limits(memory_max=64 * MIB))
    else:
        isolation.create(Limits(memory_max=64 * MIB)).remove()


def test_older_kernels_lack_files_and_that_is_no_zero(tmp_path):
    kernel = FakeKernel(tmp_path / "old", without={"memory.oom.group", "memory.peak", "cpu.stat", "memory.events"})
    with isolation_in(kernel).create(Limits(memory_max=64 * MIB)) as group:
        assert group.usage() == GroupUsage(cpu_s=None, memory_peak_bytes=None, oom_kills=None)


def test_usage_is_read_from_the_groups_own_files(kernel):
    with isolation_in(kernel).create(Limits(memory_max=64 * MIB)) as group:
        (group.folders[0] / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 1\n")
        assert group.usage() == GroupUsage(cpu_s=2.5, memory_peak_bytes=12345, oom_kills=2)


def test_signs_of_too_little_memory_are_read_from_stat_and_pressure(kernel):
    group = isolation_in(kernel).create(Limits(memory_max=64 * MIB))
    assert group.memory_stress() == MemoryStress(None, None)  # a kernel before 5.9, built without PSI
    stat, pressure = group.folders[0] / "memory.stat", group.folders[0] / "memory.pressure"
    stat.write_text("anon 4096\nworkingset_refault_anon 7\nworkingset_refault_file 4711\n")
    pressure.write_text("some avg10=1.00 avg60=0.50 avg300=0.10 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=900000\n")
    assert group.memory_stress() == MemoryStress(refaults=4711, stall_s=1.5)
    stat.unlink()
    pressure.unlink()
    group.remove()


def test_kill_is_one_write_and_removal_waits_until_empty(kernel):
    group = isolation_in(kernel).create(Limits())
    (group.folders[0] / "cgroup.procs").write_text("999999999\n")
    assert group.pids() == (999999999,)
    group.remove()
    assert kernel.writes[-1] == ("cgroup.kill", "1")
    assert not group.folders[0].exists()


# --- delegation --------------------------------------------------------------------------------------------------------


def test_we_move_to_a_leaf_where_the_kernel_demands_it(kernel):
    own = kernel.top / "scope"
    (kernel.top / "cgroup.subtree_control").write_text("cpuset memory pids\n")
    kernel.make(own)
    (own / "cgroup.procs").write_text("11\n12\n")
    base, controllers = prepare_base(place(own, kernel), frozenset({"memory"}), kernel, systemd=False)
    assert base == own
    assert controllers == {"cpuset", "memory", "pids"}
    assert (own / SUPERVISOR / "cgroup.procs").read_text() == "11\n12\n"
    assert (own / "cgroup.procs").read_text() == ""
    again, _ = prepare_base(place(own / SUPERVISOR, kernel), frozenset({"memory"}), kernel, systemd=False)
    assert again == own  # a second tuner, started by one that has moved


@pytest.mark.parametrize(
    ("controllers", "needed"),
    [("cpuset cpu pids", {"cpuset"}), ("cpuset pids", {"cpuset"}), ("cpuset cpu memory pids", {"cpuset", "memory"})],
)
def test_a_process_can_be_started_also_where_there_is_no_memory_controller(tmp_path, controllers, needed):
    """As on a Raspberry Pi, or with Delegate=cpuset pids: the kernel enables these in a group with processes too, and spoils it thereby."""
    kernel = FakeKernel(tmp_path / "pi", controllers=controllers)
    own = kernel.top / "scope"
    (kernel.top / "cgroup.subtree_control").write_text(controllers + "\n")
    kernel.make(own)
    (own / "cgroup.procs").write_text("11\n12\n")
    base, _ = prepare_base(place(own, kernel), frozenset(needed), kernel, systemd=False)
    assert (base / "cgroup.type").read_text().strip() == "domain"
    assert (own / SUPERVISOR / "cgroup.procs").read_text() == "11\n12\n"
    kernel.make(base / "run")
    kernel.write(base / "run/cgroup.procs", "99")


def test_a_group_that_is_a_threaded_domain_already_is_refused_with_what_to_do(kernel):
    own = kernel.top / "scope"
    (kernel.top / "cgroup.subtree_control").write_text("cpuset pids\n")
    kernel.make(own)
    (own / "cgroup.procs").write_text("11\n")
    kernel.write(own / "cgroup.subtree_control", "+cpuset +pids")
    with pytest.raises(NotDelegated, match="is of the type 'domain threaded', and no process can be started in a group below it") as caught:
        prepare_base(place(own, kernel), frozenset({"cpuset"}), kernel, systemd=False)
    assert "group of its own" in caught.value.remedy


def test_at_the_top_nobody_is_moved(kernel):
    (kernel.top / "cgroup.procs").write_text("1\n2\n")
    base, _ = prepare_base(place(kernel.top, kernel), frozenset({"memory"}), kernel, systemd=False)
    assert base == kernel.top
    assert not (kernel.top / SUPERVISOR).exists()


def test_who_withholds_a_controller_is_named(kernel):
    kernel.make(kernel.top / "a")
    (kernel.top / "cgroup.subtree_control").write_text("pids\n")
    kernel.make(kernel.top / "a" / "b")
    with pytest.raises(NotDelegated, match=rf"{kernel.top} does not give the cpuset and memory controller to the groups below it"):
        prepare_base(place(kernel.top / "a" / "b", kernel), frozenset({"cpuset", "memory"}), kernel, systemd=False)


def test_controllers_bound_to_v1_have_a_remedy_of_their_own(tmp_path):
    kernel = FakeKernel(tmp_path / "hybrid", controllers="hugetlb")
    with pytest.raises(NotDelegated, match="bound to cgroup v1") as caught:
        prepare_base(place(kernel.top, kernel), frozenset({"memory"}), kernel, systemd=False)
    assert "cgroup_no_v1=all" in caught.value.remedy


@pytest.mark.parametrize(
    ("unit", "attributes", "ours"),
    [
        ("session-3.scope", {}, False),
        ("session-3.scope", {("session-3.scope", "user.delegate"): b"1"}, True),
        ("tuner.service", {("tuner.service", "trusted.delegate"): b"1"}, True),
        ("tuner.service", {("user@1000.service", "user.delegate"): b"1"}, False),  # delegated to systemd's user instance, not to us
        ("run-u12.scope", {}, True),
        ("bayestuner.scope", {}, True),
    ],
)
def test_what_systemd_did_not_delegate_is_not_touched(tmp_path, unit, attributes, ours):
    kernel = FakeKernel(tmp_path / "cgroup", attributes=attributes)
    own = kernel.top
    for name in ("user@1000.service", unit):
        (own / "cgroup.subtree_control").write_text("cpuset memory pids\n")
        own = own / name
        kernel.make(own)
    before = list(kernel.writes)
    if ours:
        assert prepare_base(place(own, kernel), frozenset({"memory"}), kernel, systemd=True)[0] == own
    else:
        with pytest.raises(NotDelegated, match="belongs to systemd"):
            prepare_base(place(own, kernel), frozenset({"memory"}), kernel, systemd=True)
        assert kernel.writes == before
