"""The fallback without cgroups: needs no privilege, so it is tested for real everywhere."""

import os
import signal
import subprocess
import sys

import pytest
from patience import PATIENCE_S, ended, wait_for

from bayestuner.measure.cgroup.affinity import AffinityIsolation
from bayestuner.measure.cgroup.isolation import GroupFault, Limits

AFFINITY = AffinityIsolation()


def test_it_says_that_memory_is_not_limited():
    cpu = min(os.sched_getaffinity(0))
    with AFFINITY.create(Limits(cpuset_cpus=(cpu,), memory_max=2**26)) as group:
        assert group.actual == Limits(cpuset_cpus=(cpu,), memory_max=None, pids_max=None)
    assert AFFINITY.controls == {"cores"}


def test_cpus_that_are_not_ours_are_refused():
    with pytest.raises(GroupFault, match="8000"):
        AFFINITY.create(Limits(cpuset_cpus=(8000,)))


@pytest.mark.usefixtures("way")
class TestEveryWay:
    def test_it_runs_on_its_cpus_from_the_first_instruction(self, job, output):
        cpu = max(os.sched_getaffinity(0))
        with AFFINITY.create(Limits(cpuset_cpus=(cpu,))) as group:
            assert group.launch(job(["nproc"])).wait(PATIENCE_S) == 0
        assert output.text.strip() == "1"

    def test_what_left_the_session_twice_and_ignores_sigterm_is_killed(self, job, output):
        code = """
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for _ in range(20):
                if os.fork() == 0:
                    os.setsid()
                    if os.fork():
                        os._exit(0)
                    time.sleep(1000)
                    os._exit(0)
            print("forked", flush=True)
        """
        with AFFINITY.create(Limits()) as group:
            child = group.launch(job(code))
            assert child.wait(PATIENCE_S) == 0
            wait_for(lambda: len(group.pids()) == 20)
            group.kill()
            assert group.pids() == ()
            group.kill()

    def test_a_scrubbed_environment_does_not_hide_what_stays_in_the_session(self, job):
        with AFFINITY.create(Limits()) as group:
            child = group.launch(job(["sh", "-c", "env -i sleep 1000 & sleep 1000"]))
            wait_for(lambda: len(group.pids()) == 3)
            held = [os.pidfd_open(pid) for pid in group.pids()]
            group.kill()
            assert group.pids() == ()
            assert child.poll() == -signal.SIGKILL
        assert all(ended(fd) for fd in held)

    def test_it_is_found_even_after_its_leader_has_ended(self, job):
        with AFFINITY.create(Limits()) as group:
            child = group.launch(job(["sh", "-c", "env -i sleep 1000 &"]))
            assert child.wait(PATIENCE_S) == 0
            (pid,) = group.pids()
            held = [os.pidfd_open(pid)]
        assert ended(*held)
        with pytest.raises(ChildProcessError):
            os.waitpid(child.pid, os.WNOHANG)  # no zombie stays


def test_strangers_are_let_alone(job):
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        with AFFINITY.create(Limits()) as group:
            group.launch(job(["sleep", "1000"]))
            wait_for(lambda: len(group.pids()) == 1)
            assert stranger.pid not in group.pids()
        assert stranger.poll() is None
        stranger.kill()


def test_cpu_time_is_counted(job):
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ntime.sleep(1000)"
    with AFFINITY.create(Limits()) as group:
        group.launch(job(code))
        wait_for(lambda: group.usage().cpu_s >= 0.25)
        before = group.usage()
        assert before.oom_kills is None
        assert before.memory_peak_bytes is None
    assert group.usage().cpu_s >= before.cpu_s


def test_what_a_killed_tuner_left_is_swept(tmp_path):
    lines = [
        "import sys, time",
        "from bayestuner.measure.cgroup.affinity import AffinityIsolation",
        "from bayestuner.measure.cgroup.isolation import Launch, Limits",
        "group = AffinityIsolation().create(Limits())",
        "code = 'import os, time; os.fork(); os.setsid() if os.getpid() != os.getsid(0) else 0; time.sleep(1000)'",
        "group.launch(Launch([sys.executable, '-I', '-S', '-c', code], {}, '/', 1, 1))",
        "while len(group.pids()) < 2: time.sleep(0.01)",
        "print(group.name, flush=True)",
        "time.sleep(1000)",
    ]
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as tuner:
        name = tuner.stdout.readline().strip()
        assert name not in AFFINITY.sweep()
        tuner.kill()
        tuner.wait()
        assert name in AFFINITY.sweep()
    assert name not in AFFINITY.sweep()


def test_a_removed_group_takes_no_process(job):
    group = AFFINITY.create(Limits())
    group.remove()
    with pytest.raises(GroupFault, match="has been removed"):
        group.launch(job(["true"]))
