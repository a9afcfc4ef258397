"""A process as it starts: what it inherits, where errors show. Every test runs with the extension and with the shim."""

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from leftovers import children_of
from patience import PATIENCE_S, ended

from bayestuner.measure.cgroup.child import reap_dead
from bayestuner.measure.cgroup.isolation import GroupFault, Launch
from bayestuner.measure.cgroup.spawn import find_program, spawn
from bayestuner.measure.cgroup.spawn_native import cpu_mask
from bayestuner.measure.cgroup.spawn_request import Confinement

ANYWHERE = Confinement()


def run(launch, confinement=ANYWHERE):
    child = spawn(launch, confinement)
    return child.wait(PATIENCE_S)


@pytest.mark.usefixtures("way")
class TestEveryWay:
    def test_it_gets_its_arguments_environment_and_folder_and_nothing_else(self, job, output, tmp_path):
        code = "import os, sys, json; print(json.dumps([sys.argv[1:], dict(os.environb and os.environ), os.getcwd()]))"
        argv = [sys.executable, "-I", "-S", "-c", code, "a b", "", "$HOME", "\u00e9", "'"]
        env = {"LC_ALL": "C.UTF-8", "X": "1 2\n3", "EMPTY": ""}
        assert run(job(argv, env=env)) == 0
        assert json.loads(output.text) == [["a b", "", "$HOME", "\u00e9", "'"], env, str(tmp_path)]

    def test_bytes_that_are_no_text_arrive(self, job, output):
        assert run(job(["printf", "%s", os.fsdecode(b"\xff\xfe")])) == 0
        assert output.path.read_bytes() == b"\xff\xfe"

    def test_it_leads_a_session_and_can_gain_no_privileges(self, job, output):
        code = """
            import os
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            print(os.getpid() == os.getsid(0) == os.getpgrp(), status["NoNewPrivs"].strip(), status["SigBlk"].strip())
        """
        assert run(job(code)) == 0
        assert output.text.split() == ["True", "1", "0" * 16]

    def test_signals_have_their_default_action_again(self, job, output):
        old = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup; and Python itself ignores SIGPIPE
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            assert run(job(["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"])) == 0
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            signal.signal(signal.SIGHUP, old)
        ignored, blocked = (int(line.split()[1], 16) for line in sorted(output.text.splitlines(), key=lambda line: "Blk" in line))
        realtime_of_libc = 0b11 << 31  # posix_spawn, which starts the shim, ignores these two; no program uses them
        assert ignored & ~realtime_of_libc == 0
        assert blocked == 0

    def test_only_the_descriptors_it_was_given_are_open(self, job, output):
        ours, theirs = os.pipe(), os.pipe()
        os.set_inheritable(ours[1], True)  # even one that would be inherited
        code = f"""
            import os
            os.write({theirs[1]}, b"hello")
            names = os.listdir("/proc/self/fd")
            print(sorted(int(name) for name in names if os.path.lexists("/proc/self/fd/" + name)))  # without that of the listing
        """
        try:
            assert run(job(code, pass_fds=[theirs[1]])) == 0
            assert os.read(theirs[0], 100) == b"hello"
            assert json.loads(output.text) == [0, 1, 2, theirs[1]]
        finally:
            for fd in (*ours, *theirs):
                os.close(fd)

    def test_stdin_is_empty(self, job, output):
        assert run(job("import sys; print(repr(sys.stdin.read()))")) == 0
        assert output.text.strip() == "''"

    def test_stdout_and_stderr_may_be_one_another(self, tmp_path):
        """A program whose own stdout is the job's stderr, and the reverse; dup2 in the wrong order would lose one."""
        script = f"""
            import os, sys
            from bayestuner.measure.cgroup.isolation import Launch
            from bayestuner.measure.cgroup.spawn import spawn
            from bayestuner.measure.cgroup.spawn_request import Confinement
            {'sys.modules["bayestuner._native"] = None' if sys.modules.get("bayestuner._native", 1) is None else ""}
            launch = Launch(["sh", "-c", "echo out; echo err >&2"], dict(os.environ), "/", 2, 1)
            sys.exit(spawn(launch, Confinement()).wait(60))
        """
        lines = "\n".join(line.strip() for line in script.splitlines())
        done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "err\n", "out\n")

    def test_closed_stdio_of_the_tuner_does_no_harm(self, tmp_path):
        lines = [
            "import os, sys",
            "from bayestuner.measure.cgroup.isolation import Launch",
            "from bayestuner.measure.cgroup.spawn import spawn",
            "from bayestuner.measure.cgroup.spawn_request import Confinement",
            'sys.modules["bayestuner._native"] = None' if sys.modules.get("bayestuner._native", 1) is None else "",
            f"out = os.open({str(tmp_path / 'out')!r}, os.O_WRONLY | os.O_CREAT)",
            "os.set_inheritable(out, False)",
            "for fd in (0, 1, 2): os.close(fd)",
            "try: spawn(Launch(['/no/such/program'], {}, '/', out, out), Confinement())",
            "except FileNotFoundError: pass",
            "else: os._exit(99)",
            "child = spawn(Launch(['sh', '-c', 'echo fine'], {'PATH': os.defpath}, '/', out, out), Confinement())",
            "os._exit(child.wait(60))",
        ]
        assert subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, check=False).returncode == 0
        assert (tmp_path / "out").read_text() == "fine\n"

    def test_it_runs_on_the_cpus_it_was_given(self, job, output):
        cpu = max(os.sched_getaffinity(0))
        assert run(job("import os; print(os.sched_getaffinity(0))"), Confinement(cpus=(cpu,))) == 0
        assert output.text.strip() == str({cpu})

    def test_cpus_that_do_not_exist(self, job):
        with pytest.raises(GroupFault, match="affinity"):
            spawn(job(["true"]), Confinement(cpus=(8000,)))

    def test_the_address_space_may_be_limited(self, job, output):
        code = "import resource; print(resource.getrlimit(resource.RLIMIT_AS))"
        launch = job([sys.executable, "-I", "-c", code])
        assert run(launch, Confinement(address_space_bytes=2**33)) == 0
        assert output.text.strip() == str((2**33, 2**33))

    def test_return_codes(self, job):
        assert run(job(["sh", "-c", "exit 7"])) == 7
        assert run(job(["sh", "-c", "kill -USR1 $$"])) == -signal.SIGUSR1

    def test_terminate_reaches_the_leader_and_is_harmless_afterwards(self, job):
        child = spawn(job(["sleep", "1000"]), ANYWHERE)
        assert child.poll() is None
        assert child.wait(0.05) is None
        child.terminate()
        assert child.wait(PATIENCE_S) == -signal.SIGTERM
        child.terminate()
        assert child.poll() == -signal.SIGTERM

    @pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", "./no-such-program"])
    def test_a_missing_program_is_named(self, job, name):
        with pytest.raises(FileNotFoundError) as caught:
            spawn(job([name]), ANYWHERE)
        assert caught.value.filename == name

    def test_a_missing_interpreter_is_not_called_a_missing_program(self, job, tmp_path):
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        with pytest.raises(FileNotFoundError, match="interpreter"):
            spawn(job(["./script"]), ANYWHERE)

    def test_a_program_that_is_none(self, job, tmp_path):
        (tmp_path / "data").write_text("1 2 3\n")
        with pytest.raises(PermissionError, match="data"):
            spawn(job(["./data"]), ANYWHERE)
        (tmp_path / "data").chmod(0o755)
        with pytest.raises(OSError, match="data") as caught:
            spawn(job(["./data"]), ANYWHERE)
        assert caught.value.errno == errno.ENOEXEC

    def test_a_missing_folder_is_named(self, job, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            spawn(job(["true"], cwd=tmp_path / "gone"), ANYWHERE)
        assert caught.value.filename == str(tmp_path / "gone")

    def test_a_group_that_is_gone_is_named(self, job, tmp_path):
        with pytest.raises(GroupFault, match=r"gone/cgroup\.procs"):
            spawn(job(["true"]), Confinement(join=(tmp_path / "gone" / "cgroup.procs",)))

    def test_a_failed_start_leaves_no_process(self, job):
        before = children_of(os.getpid())  # Python's own helpers may be among them
        for _ in range(5):
            with pytest.raises(FileNotFoundError):
                spawn(job(["/no/such/program"]), ANYWHERE)
        assert children_of(os.getpid()) <= before

    def test_it_dies_with_a_tuner_that_is_killed(self, tmp_path):
        lines = [
            "import os, sys, time",
            "from bayestuner.measure.cgroup.isolation import Launch",
            "from bayestuner.measure.cgroup.spawn import spawn",
            "from bayestuner.measure.cgroup.spawn_request import Confinement",
            'sys.modules["bayestuner._native"] = None' if sys.modules.get("bayestuner._native", 1) is None else "",
            "child = spawn(Launch(['sleep', '1000'], {'PATH': os.defpath}, '/', 1, 1), Confinement())",
            "print(child.pid, flush=True)",
            "time.sleep(1000)",
        ]
        with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True) as tuner:
            pid = int(tuner.stdout.readline())
            held = os.pidfd_open(pid)
            tuner.kill()
            tuner.wait()
            assert ended(held)

    def test_it_outlives_a_worker_thread_that_started_it(self, job):
        children = []
        thread = threading.Thread(target=lambda: children.append(spawn(job(["sleep", "1000"]), ANYWHERE)))
        thread.start()
        thread.join()
        try:
            assert children[0].wait(0.3) is None
        finally:
            children[0].send(signal.SIGKILL)
            assert children[0].wait(PATIENCE_S) == -signal.SIGKILL

    def test_many_threads_start_many(self, job):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda number: run(job(["sh", "-c", f"exit {number}"])), range(40))) == list(range(40))

    @pytest.mark.parametrize(
        "launch",
        [
            Launch([], {}, "/", 1, 2),
            Launch(["true", "a\0b"], {}, "/", 1, 2),
            Launch(["true"], {"A=B": "1"}, "/", 1, 2),
            Launch(["true"], {}, "/", 1, 2, pass_fds=(1,)),
        ],
    )
    def test_a_launch_without_meaning_is_refused(self, launch):
        with pytest.raises(ValueError, match=r"empty|NUL|'='|stdin"):
            spawn(launch, ANYWHERE)


def test_a_start_that_hangs_is_killed_and_leaves_no_zombie(job, tmp_path, monkeypatch):
    """As in a frozen group; here it waits for room in a pipe that stands in for its group's file."""
    monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    monkeypatch.setattr("bayestuner.measure.cgroup.spawn_shim.EXEC_TIMEOUT_S", 0.5)
    os.mkfifo(tmp_path / "cgroup.procs")
    reader = os.open(tmp_path / "cgroup.procs", os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(tmp_path / "cgroup.procs", os.O_WRONLY | os.O_NONBLOCK)
    others = children_of(os.getpid())
    try:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(filler, bytes(65536))
        with pytest.raises(OSError, match="did not start within 30 s"):
            spawn(job(["true"]), Confinement(join=(tmp_path / "cgroup.procs",)))
        (hung,) = children_of(os.getpid()) - others
        assert ended(os.pidfd_open(hung))
        reap_dead()
        assert hung not in children_of(os.getpid())
    finally:
        os.close(reader)
        os.close(filler)


def test_somebody_else_may_have_reaped_it(job):
    child = spawn(job(["true"]), ANYWHERE)
    os.waitpid(child.pid, 0)
    assert child.wait(PATIENCE_S) == 255


def test_a_child_that_is_dropped_leaves_no_descriptor(job):
    reap_dead()
    gc.collect()  # what earlier tests left to be collected
    before = len(list(Path("/proc/self/fd").iterdir()))
    child = spawn(job(["true"]), ANYWHERE)
    pid = child.pid
    del child
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.waitpid(pid, 0)


def test_programs_are_looked_up_in_the_jobs_own_path(tmp_path):
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "tool"
    tool.write_text("#!/bin/sh\n")
    launch = Launch(["tool"], {"PATH": f"/nowhere:{tmp_path / 'bin'}"}, "/", 1, 2)
    with pytest.raises(FileNotFoundError, match="'tool'"):
        find_program(launch)  # there, but not executable
    tool.chmod(0o755)
    assert find_program(launch) == str(tool)
    assert find_program(Launch(["tool"], {"PATH": "bin"}, str(tmp_path), 1, 2)) == str(tool)
    assert find_program(Launch(["./x/tool"], {}, "/", 1, 2)) == "./x/tool"


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ((0,), b"\x01" + bytes(7)),
        ((1, 3), b"\x0a" + bytes(7)),
        ((63,), bytes(7) + b"\x80"),
        ((64,), bytes(8) + b"\x01" + bytes(7)),
        ((), bytes(8)),
    ],
)
def test_cpu_masks_are_whole_words(cpus, expected):
    assert cpu_mask(cpus, 8) == expected
