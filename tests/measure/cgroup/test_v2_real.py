"""cgroup v2 groups on the real kernel: birth inside, counters, kill, removal; limits only where the controllers are there."""

import os
import signal

import pytest
from patience import PATIENCE_S, wait_for

from bayestuner.measure.cgroup.files import CgroupFiles
from bayestuner.measure.cgroup.isolation import GroupFault, Limits
from bayestuner.measure.cgroup.names import new_name
from bayestuner.measure.cgroup.spawn import extension_is_built, spawn
from bayestuner.measure.cgroup.spawn_request import Confinement
from bayestuner.measure.cgroup.v2 import V2Isolation

pytestmark = pytest.mark.cgroup
NO_LIMITS = Limits(pids_max=None)


FORK_200 = """
    import os, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(200):
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
            os._exit(0)
    print("forked", flush=True)
    time.sleep(1000)
"""


@pytest.mark.usefixtures("way")
class TestEveryWay:
    def test_it_is_inside_before_its_first_instruction(self, v2, job, output):
        with v2.create(NO_LIMITS) as group:
            assert group.launch(job(["grep", "^0::", "/proc/self/cgroup"])).wait(PATIENCE_S) == 0
            assert output.text.strip().endswith(f"/{group.name}")

    def test_200_children_that_left_the_session_are_killed(self, v2, job, output):
        with v2.create(NO_LIMITS) as group:
            child = group.launch(job(FORK_200))
            wait_for(lambda: "forked" in output.text)
            assert len(group.pids()) == 201
            group.kill()
            assert group.pids() == ()
            assert child.poll() == -signal.SIGKILL
            group.kill()

    def test_a_group_that_is_gone_takes_no_process(self, v2, job):
        group = v2.create(NO_LIMITS)
        group.folders[0].rmdir()
        with pytest.raises(GroupFault, match=group.name):
            group.launch(job(["true"]))
        group.remove()


class WithoutKill(CgroupFiles):
    """A kernel before 5.14."""

    def write(self, path, value):
        if path.name == "cgroup.kill":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        super().write(path, value)


def test_before_linux_5_14_everything_is_frozen_and_killed(v2_place, job, output):
    isolation = V2Isolation(v2_place.folder, v2_place.mount.point, frozenset(), WithoutKill())
    with isolation.create(NO_LIMITS) as group:
        child = group.launch(job(FORK_200))
        wait_for(lambda: "forked" in output.text)
        group.kill()
        assert group.pids() == ()
        assert child.poll() == -signal.SIGKILL


def test_cpu_time_is_counted_without_a_controller(v2, job):
    with v2.create(NO_LIMITS) as group:
        assert group.launch(job("import time\nwhile time.process_time() < 0.3: pass")).wait(PATIENCE_S) == 0
        assert 0.3 <= group.usage().cpu_s < 30
    assert group.usage().cpu_s >= 0.3  # stays readable after removal


def test_a_limit_without_its_controller_is_refused_and_leaves_nothing(v2_place):
    folder = v2_place.folder / f"bayestuner-test-{os.getpid()}"  # a new group gives no controllers to those below it
    folder.mkdir()
    try:
        bare = V2Isolation(folder, v2_place.mount.point, frozenset())
        for limits in (Limits(cpuset_cpus=(0,)), Limits(memory_max=2**26)):
            with pytest.raises(GroupFault, match=r"limit was asked for, but .* has no (cpuset|memory) controller"):
                bare.create(limits)
    finally:
        folder.rmdir()  # which it couldn't, had anything been left


def test_clone3_into_a_group_and_not_the_fallback(v2, job, monkeypatch):
    """Where the kernel can do it the process is born inside: the join after birth is never tried."""
    if not extension_is_built():
        pytest.skip("the C extension is not built")
    monkeypatch.setattr(Confinement, "by_joining", lambda self: pytest.fail("fell back to joining"))
    with v2.create(NO_LIMITS) as group:
        assert group.launch(job(["true"])).wait(PATIENCE_S) == 0


def test_groups_that_a_job_made_inside_are_removed_too(v2, job, output):
    with v2.create(NO_LIMITS) as group:
        inner = group.folders[0] / "inner"
        code = f"""
            import os, time
            os.mkdir({str(inner)!r})
            open({str(inner / "cgroup.procs")!r}, "w").write("0")
            print("in", flush=True)
            open({str(inner / "cgroup.freeze")!r}, "w").write("1")
            time.sleep(1000)
        """
        group.launch(job(code))
        wait_for(lambda: "in" in output.text)
    assert not inner.parent.exists()


THREADED = """
    import os, threading, time
    pool = {pool!r}
    os.mkdir(pool)
    open(pool + "/cgroup.type", "w").write("threaded")
    def work():
        open(pool + "/cgroup.threads", "w").write(str(threading.get_native_id()))
        print("in", flush=True)
        time.sleep(1000)
    threading.Thread(target=work, daemon=True).start()
    time.sleep(1000)
"""


@pytest.mark.parametrize("files", [CgroupFiles(), WithoutKill()], ids=["kill", "freeze"])
def test_a_job_with_threaded_groups_is_counted_killed_and_removed(v2_place, job, output, files):
    """As container engines and libvirt make them: the kernel doesn't list the processes of a threaded group."""
    isolation = V2Isolation(v2_place.folder, v2_place.mount.point, frozenset(), files)
    with isolation.create(NO_LIMITS) as group:
        pool = group.folders[0] / "pool"
        child = group.launch(job(THREADED.format(pool=str(pool))))
        wait_for(lambda: "in" in output.text)
        assert (pool / "cgroup.type").read_text().strip() == "threaded"
        assert group.pids() == (child.pid,)
    assert child.poll() == -signal.SIGKILL
    assert not pool.parent.exists()


def test_what_a_dead_tuner_left_is_swept_and_what_a_living_one_uses_is_not(v2, job):
    parts = new_name().split("-")
    parts[2] = str(int(parts[2]) - 1)  # our pid, but another start time: somebody who had it before us
    with v2.create(NO_LIMITS) as living:
        stale = living.folders[0].with_name("-".join(parts))
        stale.mkdir()
        child = spawn(job(["sleep", "1000"]), Confinement(join=(stale / "cgroup.procs",)))
        assert stale.name in v2.sweep()
        assert not stale.exists()
        assert living.folders[0].exists()
    assert child.wait(PATIENCE_S) == -signal.SIGKILL
