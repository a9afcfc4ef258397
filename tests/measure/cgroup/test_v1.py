"""Limits by cgroup v1, on the real kernel: nothing here is a stand-in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from leftovers import children_of
from patience import PATIENCE_S, ended, wait_for

from bayestuner.measure.cgroup import spawn_shim
from bayestuner.measure.cgroup.child import reap_dead
from bayestuner.measure.cgroup.isolation import GroupFault, Limits
from bayestuner.measure.cgroup.names import owner_of

pytestmark = pytest.mark.cgroup
MIB = 2**20
EAT = "b = bytearray({mib} << 20); b[::4096] = b'x' * len(b[::4096])"


def folders_of(name):
    return [Path(root, name) for root, names, _ in os.walk("/sys/fs/cgroup") if name in names]


@pytest.mark.usefixtures("way")
class TestEveryWay:
    def test_it_is_inside_before_its_first_instruction(self, v1, job, output):
        with v1.create(Limits(memory_max=64 * MIB)) as group:
            assert group.launch(job(["cat", "/proc/self/cgroup"])).wait(PATIENCE_S) == 0
            paths = dict(line.split(":", 2)[1:] for line in output.text.splitlines())
            assert {name for name, path in paths.items() if path.endswith(group.name)} >= {"cpuset", "memory", "freezer", "cpuacct"}

    def test_it_sees_the_cpus_and_the_nodes_it_was_given(self, v1, job, output):
        cpu = max(os.sched_getaffinity(0))
        with v1.create(Limits(cpuset_cpus=(cpu,), cpuset_mems=(0,))) as group:
            assert group.actual.cpuset_cpus == (cpu,)
            assert group.actual.cpuset_mems == (0,)
            assert group.launch(job(["grep", "-E", "_allowed_list", "/proc/self/status"])).wait(PATIENCE_S) == 0
        assert output.text.split() == ["Cpus_allowed_list:", str(cpu), "Mems_allowed_list:", "0"]

    def test_it_can_not_leave_its_cpus(self, v1, job, output):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            pytest.skip("one CPU only")
        code = f"""
            import os
            try:
                os.sched_setaffinity(0, {{{allowed[0]}}})
            except OSError as error:
                print(error.errno)
        """
        with v1.create(Limits(cpuset_cpus=(allowed[1],))) as group:
            assert group.launch(job(code)).wait(PATIENCE_S) == 0
        assert output.text.strip() == "22"

    def test_the_kernel_kills_what_takes_too_much_memory(self, v1, job):
        with v1.create(Limits(memory_max=40 * MIB)) as group:
            child = group.launch(job(EAT.format(mib=200)))
            assert child.wait(PATIENCE_S) == -signal.SIGKILL
            usage = group.usage()
        assert usage.oom_kills == 1
        assert 39 * MIB < usage.memory_peak_bytes <= 40 * MIB
        assert group.usage().oom_kills == 1  # stays readable after removal

    def test_an_oom_kill_of_one_of_several_is_seen_though_the_leader_exits_0(self, v1, job, output):
        code = f"""
            import os
            pid = os.fork()
            if pid == 0:
                {EAT.format(mib=200)}
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
        with v1.create(Limits(memory_max=40 * MIB)) as group:
            assert group.launch(job(code)).wait(PATIENCE_S) == 0
            assert group.usage().oom_kills == 1
        assert output.text.strip() == "-9"

    def test_page_cache_up_to_the_limit_is_no_oom(self, v1, job, tmp_path):
        code = f"""
            with open({str(tmp_path / "big")!r}, "wb") as file:
                for _ in range(100):
                    file.write(bytes(1 << 20))
        """
        with v1.create(Limits(memory_max=40 * MIB)) as group:
            assert group.launch(job(code)).wait(PATIENCE_S) == 0
            assert group.usage().oom_kills == 0

    def test_it_may_not_fork_without_end(self, v1, job, output):
        if "pids" not in v1._own_groups:
            pytest.skip("no pids controller here")
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
        with v1.create(Limits(pids_max=20)) as group:
            group.launch(job(code))
            wait_for(lambda: "\n" in output.text)
            assert len(group.pids()) == 20
        assert output.text.split() == ["19", "11"]

    def test_what_ignores_sigterm_and_leaves_the_session_is_killed(self, v1, job, output):
        code = """
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork():
                os._exit(0)
            os.setsid()
            if os.fork():
                os._exit(0)
            print(os.getpid(), flush=True)
            time.sleep(1000)
        """
        group = v1.create(Limits())
        child = group.launch(job(code))
        assert child.wait(PATIENCE_S) == 0
        wait_for(lambda: "\n" in output.text)
        daemon = int(output.text)
        assert group.pids() == (daemon,)
        os.kill(daemon, signal.SIGTERM)
        group.kill()
        assert group.pids() == ()
        group.kill()
        group.remove()
        group.remove()
        assert folders_of(group.name) == []

    def test_200_children_are_killed(self, v1, job, output):
        code = """
            import os, time
            for _ in range(200):
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(1000)
                    os._exit(0)
            print("forked", flush=True)
            time.sleep(1000)
        """
        with v1.create(Limits()) as group:
            child = group.launch(job(code))
            wait_for(lambda: "forked" in output.text)
            assert len(group.pids()) == 201
            group.kill()
            assert group.pids() == ()
            assert child.poll() == -signal.SIGKILL

    def test_a_stopped_job_is_killed(self, v1, job):
        with v1.create(Limits()) as group:
            child = group.launch(job(["sh", "-c", "kill -STOP $$"]))
            wait_for(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            group.kill()
            assert child.poll() == -signal.SIGKILL

    def test_a_failed_start_leaves_a_group_that_can_be_removed(self, v1, job):
        with v1.create(Limits(memory_max=64 * MIB)) as group, pytest.raises(FileNotFoundError, match="/no/such/program"):
            group.launch(job(["/no/such/program"]))
        assert folders_of(group.name) == []

    def test_an_empty_cpuset_is_told_and_not_called_a_full_disk(self, v1, job):
        group = v1.create(Limits())
        try:
            group.files.write(group._by_controller["cpuset"] / "cpuset.cpus", "\n")
            with pytest.raises(GroupFault, match=r"cpuset/.*cgroup\.procs.*cpuset has no CPU"):
                group.launch(job(["true"]))
        finally:
            group.remove()


def test_a_limit_is_rounded_down_to_a_page_and_read_back(v1):
    with v1.create(Limits(memory_max=50_000_001)) as group:
        page = os.sysconf("SC_PAGE_SIZE")
        assert group.actual.memory_max == 50_000_001 // page * page
        assert group.limits.memory_max == 50_000_001


def test_cpus_that_do_not_exist_leave_nothing_behind(v1):
    before = {entry.name for entry in Path("/sys/fs/cgroup/cpuset").iterdir()}
    with pytest.raises(GroupFault, match=r"cpuset\.cpus.*writing '8000'"):
        v1.create(Limits(cpuset_cpus=(8000,)))
    assert {
        name for name in {entry.name for entry in Path("/sys/fs/cgroup/cpuset").iterdir()} - before if owner_of(name).pid == os.getpid()
    } == set()


def test_a_limit_above_that_of_a_group_around_us_is_refused(v1):
    """As inside a container that itself is limited: the run would die of a limit that isn't the one asked for."""
    with v1.create(Limits(memory_max=64 * MIB)) as outer:
        inner_places = {name: type(place)(outer._by_controller[name], place.mount) for name, place in v1._own_groups.items()}
        inner = type(v1)(inner_places)
        with pytest.raises(GroupFault, match=f"allows only {64 * MIB}"):
            inner.create(Limits(memory_max=128 * MIB))
        with inner.create(Limits(memory_max=32 * MIB)) as fits:
            assert fits.actual.memory_max == 32 * MIB


def test_groups_that_a_privileged_job_made_inside_are_removed_too(v1, job, output):
    with v1.create(Limits()) as group:
        folder = group._by_controller["freezer"] / "inner"
        code = f"""
            import os, time
            os.mkdir({str(folder)!r})
            open({str(folder / "cgroup.procs")!r}, "w").write("0")
            if os.fork() == 0:
                time.sleep(1000)
            print("in", flush=True)
            open({str(folder / "freezer.state")!r}, "w").write("FROZEN")
            time.sleep(1000)
        """
        group.launch(job(code))
        wait_for(lambda: "in" in output.text)
    assert not folder.parent.exists()


def test_a_group_removed_under_us_is_no_error(v1):
    group = v1.create(Limits())
    for folder in group.folders:
        folder.rmdir()
    assert group.pids() == ()
    assert group.usage().oom_kills is None
    group.kill()
    group.remove()


def test_a_cpu_that_is_taken_away_is_noticed(v1):
    cpus = tuple(sorted(os.sched_getaffinity(0)))[:2]
    if len(cpus) < 2:
        pytest.skip("this machine has one CPU, which can't be taken away")
    with v1.create(Limits(cpuset_cpus=cpus)) as group:
        group.check_cpus()
        folder = next(folder for folder in group.folders if (folder / "cpuset.cpus").exists())
        (folder / "cpuset.cpus").write_text(str(cpus[0]))
        with pytest.raises(GroupFault, match=rf"holds CPUs \({cpus[0]},\) after \({cpus[0]}, {cpus[1]}\) were asked for"):
            group.check_cpus()


def test_cpu_time_is_counted(v1, job):
    with v1.create(Limits()) as group:
        assert group.launch(job("import time\nwhile time.process_time() < 0.3: pass")).wait(PATIENCE_S) == 0
        assert 0.3 <= group.usage().cpu_s < 30


def test_an_exception_and_ctrl_c_leave_nothing(v1, job):
    for kind in (RuntimeError, KeyboardInterrupt):
        name = None
        with pytest.raises(kind), v1.create(Limits()) as group:
            name = group.name
            child = group.launch(job(["sleep", "1000"]))
            raise kind
        assert child.poll() == -signal.SIGKILL
        assert folders_of(name) == []


def test_a_removed_group_takes_no_process(v1, job):
    group = v1.create(Limits())
    group.remove()
    with pytest.raises(GroupFault, match="has been removed"):
        group.launch(job(["true"]))


def test_what_a_killed_tuner_left_is_swept_and_what_a_living_one_uses_is_not(v1, output, tmp_path):
    lines = [
        "import os, sys, time",
        "from bayestuner.measure.cgroup.hierarchy import discover",
        "from bayestuner.measure.cgroup.isolation import Launch, Limits",
        "from bayestuner.measure.cgroup.v1 import V1Isolation",
        "group = V1Isolation(discover().v1).create(Limits(memory_max=64 << 20))",
        "code = 'import os, time; os.fork(); os.setsid() if os.getpid() != os.getsid(0) else 0; time.sleep(1000)'",
        "group.launch(Launch([sys.executable, '-I', '-S', '-c', code], {}, '/', 1, 1))",
        "while len(group.pids()) < 2: time.sleep(0.01)",
        "print(group.name, *group.pids(), flush=True)",
        "time.sleep(1000)",
    ]
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as tuner:
        name, *pids = tuner.stdout.readline().split()
        held = [os.pidfd_open(int(pid)) for pid in pids]
        assert name not in v1.sweep()
        assert folders_of(name) != []
        tuner.kill()
        tuner.wait()
        assert name in v1.sweep()
        assert folders_of(name) == []
        assert all(ended(fd) for fd in held)
    assert name not in v1.sweep()


def test_a_start_that_hangs_is_given_up(v1, job, monkeypatch):
    """A frozen group lets nothing run once it has joined. With the shim only: bt_spawn waits for 30 s, too long for a test."""
    monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    monkeypatch.setattr(spawn_shim, "EXEC_TIMEOUT_S", 1.0)
    with v1.create(Limits()) as group:
        group.files.write(group._by_controller["freezer"] / "freezer.state", "FROZEN")
        with pytest.raises(OSError, match="did not start"):
            group.launch(job(["true"]))
        (pid,) = group.pids()
    assert ended(os.pidfd_open(pid))
    reap_dead()
    assert pid not in children_of(os.getpid())
