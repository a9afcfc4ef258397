"""cgroup v2 of a real kernel with all its controllers: what needs a second NUMA node, a CPU that goes away, another user or mount."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from leftovers import own_groups
from patience import PATIENCE_S, wait_for
from vm.injector import offline

from bayestuner.measure.cgroup.hierarchy import discover
from bayestuner.measure.cgroup.isolation import GroupFault, Launch, Limits
from bayestuner.measure.cgroup.select import open_isolation
from bayestuner.measure.cgroup.v2 import V2Isolation
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.run.runner import Runner
from bayestuner.report.apply import Launch as Launched
from bayestuner.report.apply import apply_line, way_here
from bayestuner.trial import Failed, Measured

pytestmark = pytest.mark.vm
TOP = Path("/sys/fs/cgroup")
JOBS = Path(__file__).parents[1] / "measure" / "programs"
MIB = 2**20


@pytest.fixture(scope="module")
def isolation():
    isolation, refusals = open_isolation(frozenset({"cores", "memory"}))
    assert isinstance(isolation, V2Isolation)
    assert refusals == ()
    return isolation


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert own_groups() == []


@pytest.fixture
def folder():
    """A group of the test's own, with controllers for those below it; emptied and removed in the end."""
    path = TOP / f"bayestuner-test-{os.getpid()}"
    path.mkdir()
    yield path
    for group in [Path(p) for p, _, _ in os.walk(path, topdown=False)]:
        (group / "cgroup.kill").write_text("1")
        wait_for(lambda group=group: "populated 0" in (group / "cgroup.events").read_text())
        group.rmdir()


def start(group, code, tmp_path):
    """Run Python code in a group; its output comes as text in the second value's file."""
    said = tmp_path / "said"
    with said.open("wb") as out:
        argv = [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]
        return group.launch(Launch(argv, {"PATH": os.environ["PATH"]}, "/", out.fileno(), out.fileno())), said


def python(code, *words):
    """Run Python code that may import bayestuner, in a process of its own; its output."""
    argv = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- cpuset and memory nodes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [(3,), (1, 3)])
def test_a_cpuset_that_the_kernel_narrows_without_a_word_is_refused(isolation, folder, asked):
    (folder / "cpuset.cpus").write_text("0-1")
    (folder / "cgroup.subtree_control").write_text("+cpuset +memory")
    below = V2Isolation(folder, TOP, frozenset({"cpuset", "memory"}))
    with below.create(Limits(cpuset_cpus=(0, 1))) as group:
        assert group.actual.cpuset_cpus == (0, 1)
    with pytest.raises(GroupFault, match=r"cpuset\.cpus\.effective holds CPUs .* were asked for"):
        below.create(Limits(cpuset_cpus=asked))
    assert not list(folder.glob("bayestuner-*"))


def test_a_memory_limit_that_a_group_above_undercuts_is_refused(isolation, folder):
    (folder / "memory.max").write_text(str(32 * MIB))
    (folder / "cgroup.subtree_control").write_text("+memory")
    below = V2Isolation(folder, TOP, frozenset({"memory"}))
    with pytest.raises(GroupFault, match=rf"{folder}/memory\.max allows only {32 * MIB}"):
        below.create(Limits(memory_max=64 * MIB))


@pytest.mark.parametrize(("cpus", "node"), [((0, 1), 0), ((2, 3), 1)])
def test_memory_comes_from_the_node_that_was_asked_for(isolation, tmp_path, cpus, node):
    code = "b = bytearray(32 << 20)\nb[::4096] = b'x' * len(b[::4096])\nprint('full', flush=True)\nimport time\ntime.sleep(1000)"
    with isolation.create(Limits(cpuset_cpus=cpus, cpuset_mems=(node,), memory_max=256 * MIB)) as group:
        assert group.actual.cpuset_mems == (node,)
        _, said = start(group, code, tmp_path)
        wait_for(lambda: "full" in said.read_text())
        anon = (group.folders[0] / "memory.numa_stat").read_text().splitlines()[0].split()
    bytes_of = {int(word[1]): int(word.partition("=")[2]) for word in anon[1:]}
    assert anon[0] == "anon"
    assert bytes_of[node] > 32 * MIB
    assert bytes_of[1 - node] < 4 * MIB


def test_a_node_that_does_not_exist_is_refused(isolation):
    with pytest.raises(GroupFault, match=r"cpuset\.mems"):
        isolation.create(Limits(cpuset_mems=(2,)))


def test_a_cpu_that_goes_offline_is_noticed(isolation, tmp_path):
    with isolation.create(Limits(cpuset_cpus=(2, 3))) as group:
        start(group, "import time\ntime.sleep(1000)", tmp_path)
        group.check_cpus()
        with offline(3), pytest.raises(GroupFault, match=r"holds CPUs \(2,\) after \(2, 3\) .* offline"):
            group.check_cpus()
        group.check_cpus()


def test_a_run_whose_cpu_goes_offline_is_not_measured_but_repeated(isolation, tmp_path):
    job = spin_job(tmp_path, cores=4, max_seconds=100.0, min_seconds=100.0)
    with contextlib.ExitStack() as stack:
        timer = threading.Timer(2.0, stack.enter_context, [offline(3)])
        timer.start()
        record = run(job, isolation)
        timer.join()
    assert record.outcome.kind == "transient"
    assert "holds CPUs (0, 1, 2) after (0, 1, 2, 3) were asked for: the others are offline" in record.outcome.message


def spin_job(folder, *, cores, **measure):
    lines = "\n".join(f"{name} = {value}" for name, value in ({"startup_timeout_s": 100.0, "relative_error": 0.5} | measure).items())
    text = f"""
        [job]
        command = ["{{python}}", "{JOBS / "spin_job.py"}", "1", "0.01"]
        [knobs]
        cores = {{ kind = "cores", values = [{cores}] }}
        [goal]
        minimize = "cpu_s_per_item"
        [measure]
        {lines.replace(chr(10), chr(10) + " " * 8)}
    """
    return parse_job(textwrap.dedent(text), folder / "job.toml")


def run(job, isolation):
    with Runner(job, meter=None, isolation=isolation) as runner:
        return runner.run(job.all_max_config())


# -- ends ---------------------------------------------------------------------------------------------------------------


def test_a_run_is_measured_in_real_limits(isolation, tmp_path):
    record = run(spin_job(tmp_path, cores=2, min_seconds=1.0, max_seconds=5.0), isolation)
    assert isinstance(record.outcome, Measured)
    assert record.details["isolation"] == "cgroup-v2"
    assert record.details["cpus"] == [0, 1]
    assert 0.009 < record.outcome.metrics["cpu_s_per_item"].value < 0.05  # an emulated CPU that stood still has overshot


def test_a_run_that_outgrows_its_memory_ends_as_oom(isolation, tmp_path):
    job = parse_job(
        f"""
[job]
command = ["{{python}}", "{JOBS / "hog_memory.py"}", "300", "child"]
[knobs]
memory_mib = {{ kind = "memory", values = [64] }}
[goal]
minimize = "memory_mib"
[measure]
startup_timeout_s = 100.0
min_seconds = 100.0
max_seconds = 100.0
""",
        tmp_path / "job.toml",
    )
    record = run(job, isolation)
    assert record.outcome == Failed("oom", "killed for memory at its limit of 64 MiB")


def test_a_frozen_job_is_killed_and_its_group_removed(isolation, tmp_path):
    with isolation.create(Limits()) as group:
        child, said = start(group, "print('on', flush=True)\nimport time\ntime.sleep(1000)", tmp_path)
        wait_for(lambda: "on" in said.read_text())
        (group.folders[0] / "cgroup.freeze").write_text("1")
        wait_for(lambda: "frozen 1" in (group.folders[0] / "cgroup.events").read_text())
    assert child.poll() == -signal.SIGKILL
    assert not group.folders[0].exists()


def test_a_group_that_is_in_use_can_not_be_removed_until_it_is_emptied(isolation, tmp_path):
    """What the kernel says of a group with living processes (EBUSY) does not keep ours from being emptied and removed."""
    code = """
        import os, time
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                time.sleep(1000)
        print("on", flush=True)
        time.sleep(1000)
    """
    with isolation.create(Limits(pids_max=100)) as group:
        _, said = start(group, code, tmp_path)
        wait_for(lambda: "on" in said.read_text())
        with pytest.raises(OSError, match="busy"):
            group.folders[0].rmdir()
        assert len(group.pids()) == 21
    assert not group.folders[0].exists()


def test_a_group_that_is_removed_under_a_run_ends_the_run(isolation, tmp_path):
    job = spin_job(tmp_path, cores=1, min_seconds=100.0, max_seconds=100.0)

    def removed():
        for group in map(Path, own_groups()):
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1")
                wait_for(lambda group=group: "populated 0" in (group / "cgroup.events").read_text())
                group.rmdir()

    timer = threading.Timer(4.0, removed)
    timer.start()
    record = run(job, isolation)
    timer.join()
    assert isinstance(record.outcome, Failed)
    assert record.outcome.kind == "error"
    assert "SIGKILL" in record.outcome.message
    assert "not_removed" not in record.details


# -- where no group can be made -----------------------------------------------------------------------------------------

OPEN = """
    from bayestuner.errors import IsolationUnavailable
    from bayestuner.measure.cgroup.select import open_isolation
    NEEDS = frozenset({"cores", "memory"})

    def show():
        try:
            isolation, _ = open_isolation(NEEDS)
            print(isolation.name, sorted(isolation.controls))
        except IsolationUnavailable as error:
            print(error)
"""


READ_ONLY = 'mount -o remount,bind,ro /sys/fs/cgroup && exec "$0" -c "$1"'


def test_a_read_only_cgroup_file_system_is_refused_with_its_reason():
    argv = ["unshare", "-m", "sh", "-c", READ_ONLY, sys.executable, textwrap.dedent(OPEN) + "show()\n"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert "cgroup-v2: /sys/fs/cgroup is mounted read-only" in done.stdout


JOIN = f"""{OPEN}
    import sys
    with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
        procs.write("0")
"""
AS_NOBODY = f"""{OPEN}
    show()  # once as root: every module is loaded while its file can be read
    {JOIN.removeprefix(OPEN)}
    import os
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    show()
    with open("/proc/self/cgroup") as own:
        print(own.read().strip())
"""


def test_a_user_to_whom_nothing_is_delegated_is_refused_with_its_reason(isolation, folder):
    said = python(AS_NOBODY, folder).splitlines()[1]
    assert "no permission: this part of the cgroup tree isn't delegated to this user" in said
    assert "run as root" in said


def test_a_user_to_whom_a_group_is_delegated_needs_no_root(isolation, folder):
    """The folder is theirs, and those of its files that the kernel's documentation of delegation names."""
    for path in (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control", folder / "cgroup.threads"):
        os.chown(path, 65534, 65534)
    said = python(AS_NOBODY, folder).splitlines()[1:]
    assert said == ["cgroup-v2 ['cores', 'memory']", f"0::/{folder.name}/bayestuner-supervisor"]


def test_a_group_that_holds_processes_gives_controllers_once_they_are_in_a_leaf(isolation, folder):
    """EBUSY of the no-internal-process rule: everything in the group moves to a leaf, a bystander too."""
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            (folder / "cgroup.procs").write_text(str(bystander.pid))
            with pytest.raises(OSError, match="busy"):
                (folder / "cgroup.subtree_control").write_text("+memory")
            assert python(JOIN + "    show()\n    show()\n", folder).splitlines() == ["cgroup-v2 ['cores', 'memory']"] * 2
            assert Path(f"/proc/{bystander.pid}/cgroup").read_text().strip() == f"0::/{folder.name}/bayestuner-supervisor"
        finally:
            bystander.kill()


def test_a_controller_that_a_group_above_keeps_back_is_named(isolation, folder):
    inner = folder / "inner"
    inner.mkdir()
    assert f"{folder} does not give the cpuset and memory controller to the groups below it" in python(JOIN + "    show()\n", inner)


def test_what_a_killed_tuner_left_is_swept_by_the_next(isolation):
    code = """
        import os, sys
        from bayestuner.measure.cgroup.isolation import Launch, Limits
        from bayestuner.measure.cgroup.select import open_isolation
        isolation, _ = open_isolation(frozenset({"cores"}))
        group = isolation.create(Limits(cpuset_cpus=(1,)))
        group.launch(Launch(["sleep", "1000"], {"PATH": os.environ["PATH"]}, "/", 1, 2))
        print(group.name, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.strip() in isolation.sweep()
    assert not (discover().v2.folder / done.stdout.strip()).exists()


# -- the line that applies a recommendation ----------------------------------------------------------------------------------


def test_the_line_to_apply_with_limits_what_is_pasted(isolation, tmp_path):
    """As `bayestuner show` prints it on a machine with cgroup v2 and without systemd."""
    way = way_here(("cpuset", "memory"), systemd=False)
    assert way.kind == "cgroup-v2"
    code = "import os; print(sorted(os.sched_getaffinity(0)), os.getcwd(), open('/proc/self/cgroup').read().strip()[-4:])"
    launch = Launched("test", (sys.executable, "-I", "-S", "-c", code), {}, str(tmp_path), None, (1, 2), (0,), 64 * MIB)
    for _ in range(2):
        done = subprocess.run(["sh", "-c", apply_line(launch, way)], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"[1, 2] {tmp_path} test\n"
    group = way.folders["memory"] / "test"
    assert (group / "memory.max").read_text() == f"{64 * MIB}\n"
    assert (group / "cpuset.mems").read_text() == "0\n"
    hungry = replace(launch, command=(sys.executable, "-I", "-S", "-c", f"x = bytearray({96 * MIB}); print(len(x))"))
    done = subprocess.run(["sh", "-c", apply_line(hungry, way)], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stdout) == (True, "")
    group.rmdir()
