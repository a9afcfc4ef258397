"""Limits by cgroup v2 on a real kernel whose controllers are there: skipped where they are bound to v1, run in the virtual machine."""

import os
import signal
from pathlib import Path

import pytest
from patience import PATIENCE_S, wait_for

from bayestuner.measure.cgroup.hierarchy import discover
from bayestuner.measure.cgroup.isolation import GroupFault, Limits
from bayestuner.measure.cgroup.select import open_isolation
from bayestuner.measure.cgroup.v2 import V2Isolation

pytestmark = pytest.mark.cgroup
MIB = 2**20
EAT = "b = bytearray({mib} << 20); b[::4096] = b'x' * len(b[::4096])"


@pytest.fixture
def limits_v2():
    place = discover().v2
    if place is None or not {"cpuset", "memory"} <= set((place.mount.point / "cgroup.controllers").read_text().split()):
        pytest.skip("cgroup v2 has no cpuset and memory controller here")
    if not os.access(place.folder, os.W_OK):
        pytest.skip("the cgroup v2 folder of this process can't be written")
    isolation, refusals = open_isolation(frozenset({"cores", "memory"}))
    assert refusals == ()
    assert isinstance(isolation, V2Isolation)
    assert isolation.controls == {"cores", "memory"}
    return isolation


@pytest.mark.usefixtures("way")
class TestEveryWay:
    def test_it_is_inside_its_cpus_nodes_and_group_before_its_first_instruction(self, limits_v2, job, output):
        cpu = max(os.sched_getaffinity(0))
        with limits_v2.create(Limits(cpuset_cpus=(cpu,), cpuset_mems=(0,), memory_max=50_000_001, pids_max=64)) as group:
            assert group.actual == Limits((cpu,), (0,), 49_999_872, 64)
            argv = ["grep", "-hE", "^0::|_allowed_list", "/proc/self/cgroup", "/proc/self/status"]
            assert group.launch(job(argv)).wait(PATIENCE_S) == 0
        lines = output.text.splitlines()
        assert lines[0].endswith(f"/{group.name}")
        assert [line.split()[1] for line in lines[1:]] == [str(cpu), "0"]

    def test_an_oom_kill_ends_the_whole_run(self, limits_v2, job):
        code = f"""
            import os
            pid = os.fork()
            if pid == 0:
                {EAT.format(mib=200)}
                os._exit(0)
            os.waitpid(pid, 0)
        """
        with limits_v2.create(Limits(memory_max=40 * MIB)) as group:
            assert group.launch(job(code)).wait(PATIENCE_S) == -signal.SIGKILL  # memory.oom.group: the parent too
            usage = group.usage()
            assert usage.oom_kills >= 1
            assert 39 * MIB < (usage.memory_peak_bytes or 40 * MIB) <= 41 * MIB
        assert group.usage().oom_kills == usage.oom_kills  # stays readable after removal

    def test_within_its_memory_nothing_happens(self, limits_v2, job):
        with limits_v2.create(Limits(memory_max=100 * MIB)) as group:
            assert group.launch(job(EAT.format(mib=30))).wait(PATIENCE_S) == 0
            assert group.usage().oom_kills == 0

    def test_it_may_not_fork_without_end(self, limits_v2, job, output):
        code = """
            import os, time
            made = 0
            try:
                while True:
                    if os.fork() == 0:
                        time.sleep(1000)
                    made += 1
            except OSError as error:
                print(made, error.errno, flush=True)
            time.sleep(1000)
        """
        with limits_v2.create(Limits(pids_max=20)) as group:
            group.launch(job(code))
            wait_for(lambda: "\n" in output.text)
            assert len(group.pids()) == 20
        assert output.text.split() == ["19", "11"]


def test_cpus_that_do_not_exist_are_refused(limits_v2):
    with pytest.raises(GroupFault, match=r"cpuset\.cpus"):
        limits_v2.create(Limits(cpuset_cpus=(os.cpu_count(),)))


def test_an_empty_group_reports_no_oom(limits_v2):
    with limits_v2.create(Limits(memory_max=40 * MIB)) as group:
        assert group.usage().oom_kills == 0
        assert group.pids() == ()
    assert not Path(group.folders[0]).exists()
