"""The line that applies a recommendation: made for each kind of machine, and pasted into a real shell of this one."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import RECOMMENDED, bayestuner, processes_of, write_job
from patience import wait_for
from study_doubles import small_goal, small_space

from bayestuner.errors import StoreError
from bayestuner.measure.cgroup.hierarchy import Mount, OwnGroup, OwnGroups
from bayestuner.report.apply import Launch, Way, apply_line, launch_of, left_out, sets_threads, way_here
from bayestuner.study.study import Study
from bayestuner.study.summary import summarise
from bayestuner.trial import Measured, Reading

LAUNCH = Launch(
    "my job",
    ("/usr/bin/python3", "job.py", "--flag=a b"),
    {"BAYESTUNER_CORES": "2", "NAME": "it's"},
    "/srv/my jobs",
    None,
    (0, 1, 3),
    (0,),
    2**29,
)
LOADED = ("python3", "-m", "bayestuner.measure.http_load", "--url", "http://[::1]:@PORT@/", "--", "./server", "--port=@PORT@", "@PORT@")
MINE = "env BAYESTUNER_CORES=2 'NAME=it'\"'\"'s'"


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch):
    for name in [name for name in os.environ if sets_threads(name)]:
        monkeypatch.delenv(name, raising=False)


def test_where_systemd_runs():
    line = apply_line(LAUNCH, Way("systemd"))
    limits = "-p AllowedCPUs=0-1,3 -p AllowedMemoryNodes=0 -p MemoryMax=536870912 -p MemorySwapMax=0"
    who = "" if os.geteuid() == 0 else "--user "
    command = "/usr/bin/python3 job.py '--flag=a b'"
    assert line == f"(cd '/srv/my jobs' && exec {MINE} systemd-run {who}--scope {limits} -- {command})"
    assert "--uid=nobody" in apply_line(replace(LAUNCH, user="nobody"), Way("systemd"))


def test_where_only_affinity_is_left():
    line = apply_line(LAUNCH, Way("taskset"))
    assert line == f"(cd '/srv/my jobs' && exec {MINE} taskset -c 0-1,3 /usr/bin/python3 job.py '--flag=a b')"
    assert left_out(LAUNCH, Way("taskset")) == "the line leaves out the memory limit of 512 MiB, since no cgroup can be made here"
    assert left_out(LAUNCH, Way("systemd")) is None


def test_a_server_is_started_without_its_load_and_on_a_port_of_ones_choice():
    line = apply_line(replace(LAUNCH, command=LOADED, env={}), Way("taskset"))
    assert "http_load" not in line
    assert "@PORT@" not in line
    shell = line.replace("taskset -c 0-1,3 ./server", "printf '%s\\n'").replace("cd '/srv/my jobs' && ", "")
    for port, env in (("8000", {}), ("9123", {"PORT": "9123"})):
        done = subprocess.run(["sh", "-c", shell], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [f"--port={port}", port]


def test_variables_that_would_place_threads_are_taken_out(monkeypatch):
    monkeypatch.setenv("OMP_PLACES", "cores")
    assert "exec env -u OMP_PLACES BAYESTUNER_CORES=2" in apply_line(LAUNCH, Way("taskset"))


def test_settings_of_the_machine_are_made_and_those_of_a_platform_named():
    settings = (("cap_w", "/sys/class/powercap/x/limit", "5000"), ("clock", "gpu0", "900"))
    launch = replace(LAUNCH, settings=settings)
    assert apply_line(launch, Way("systemd")).startswith("(echo 5000 > /sys/class/powercap/x/limit && cd ")
    assert left_out(launch, Way("systemd")) == "the line leaves out clock=900 of a platform"


def tree(tmp_path, *, v1=(), v2="", enabled=""):
    groups = {}
    for name in v1:
        (tmp_path / name / "mine").mkdir(parents=True)
        groups[name] = OwnGroup(tmp_path / name / "mine", Mount(1, tmp_path / name, "/", frozenset({name})))
    own = None
    if v2:
        (tmp_path / "v2" / "mine").mkdir(parents=True)
        (tmp_path / "v2" / "cgroup.controllers").write_text(v2)
        (tmp_path / "v2" / "cgroup.subtree_control").write_text(enabled)
        (tmp_path / "v2" / "mine" / "cgroup.subtree_control").write_text("")
        own = OwnGroup(tmp_path / "v2" / "mine", Mount(2, tmp_path / "v2", "/"))
    return OwnGroups(own, groups)


BOTH = ("cpuset", "memory")


@pytest.mark.parametrize(
    ("here", "systemd", "kind"),
    [
        ({"v2": "cpuset memory pids", "enabled": "cpuset memory"}, True, "systemd"),
        ({"v2": "cpuset memory pids", "enabled": "cpuset memory"}, False, "cgroup-v2"),
        ({"v2": "cpuset memory pids"}, False, "taskset"),
        ({"v2": "pids", "v1": BOTH}, True, "cgroup-v1"),  # systemd on cgroup v1 heeds no AllowedCPUs
        ({"v1": BOTH}, False, "cgroup-v1"),
        ({"v1": ("memory",)}, False, "taskset"),
        ({}, False, "taskset"),
    ],
)
def test_the_way_of_a_machine(here, systemd, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    groups = tree(tmp_path, **here)
    assert way_here(BOTH, groups=groups, systemd=systemd).kind == kind
    assert apply_line(LAUNCH, way_here(BOTH, groups=groups, systemd=systemd))


def test_a_users_systemd_limits_only_what_it_was_given(tmp_path, monkeypatch):
    groups = tree(tmp_path, v2="cpuset memory pids")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    service = tmp_path / "v2" / "user.slice" / "user-1000.slice" / "user@1000.service"
    service.mkdir(parents=True)
    for given, kind in (("memory pids", "taskset"), ("cpuset memory pids", "systemd")):
        (service / "cgroup.controllers").write_text(given)
        assert way_here(BOTH, groups=groups, systemd=True).kind == kind
    assert "systemd-run --user --scope" in apply_line(LAUNCH, Way("systemd"))


def test_cgroup_v2_is_written_as_the_kernel_wants_it(tmp_path):
    """On a tree of plain files: what stands in them after the line ran."""
    groups = tree(tmp_path, v2="cpuset memory", enabled="cpuset memory")
    launch = replace(LAUNCH, command=("/bin/echo", "started"), cwd=str(tmp_path))
    line = apply_line(launch, way_here(BOTH, groups=groups, systemd=False))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "started\n"
    group = tmp_path / "v2" / "my_job"
    found = {name: (group / name).read_text().strip() for name in ("cpuset.cpus", "cpuset.mems", "memory.max")}
    assert found == {"cpuset.cpus": "0-1,3", "cpuset.mems": "0", "memory.max": "536870912"}
    assert (group / "cgroup.procs").read_text().strip().isdigit()


def test_an_older_studys_runs_say_less(tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 2, name="toy") as study:
        trial = study.ask()
        study.tell(trial, Measured({"power_w": Reading(1.0), "throughput": Reading(50.0)}), {"cpus": [0], "memory_max": 2**28})
        study.set_result({"complete": True, "recommended": trial.config, "command": ["/bin/job"], "env": {"A": "1"}})
        summary = summarise(study)
        launch = launch_of(summary, summary.recommended, study.records())
    assert launch == Launch("toy", ("/bin/job",), {"A": "1"}, None, None, (0,), (), 2**28)


def test_cores_are_only_limited_where_the_runs_were(tmp_path):
    for mems, isolation, cpus in (([0], "cgroup-v1", (0, 1)), (None, "cgroup-v1", ()), (None, "affinity", (0, 1))):
        with Study.create(tmp_path / f"s{mems}{isolation}", small_space(), small_goal(), "random", 0, 2, name="toy") as study:
            details = {"cpus": [0, 1], "memory_max": None, "argv": ["/bin/job"], "mems": mems, "isolation": isolation, "cwd": "/srv"}
            trial = study.ask()
            study.tell(trial, Measured({"power_w": Reading(1.0), "throughput": Reading(50.0)}), details)
            study.set_result({"complete": True, "recommended": trial.config})
            summary = summarise(study)
            launch = launch_of(summary, summary.recommended, study.records())
        assert (launch.cpus, launch.cwd, launch.command) == (cpus, "/srv", ("/bin/job",))
        assert ("cpuset" in launch.controllers) == bool(cpus)


@pytest.mark.parametrize("wrong", [{"mems": ["x"]}, {"env": [1]}, {"settings": [{"knob": "a"}]}, {"argv": 3}, {"cpus": [None]}])
def test_details_that_no_line_could_be_made_of_are_not_stored(wrong, tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 2, name="toy") as study:
        trial = study.ask()
        details = {"cpus": [0], "argv": ["/bin/job"], "mems": [0], "isolation": "cgroup-v2"} | wrong
        with pytest.raises(StoreError, match="run 1's details"):
            study.tell(trial, Measured({"power_w": Reading(1.0), "throughput": Reading(50.0)}), details)
        assert study.records()[0].trial.outcome is None


# -- pasted ---------------------------------------------------------------------------------------------------------------

JOB = """
import json, os, pathlib, sys
groups = {line.split(":")[1]: line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup")}
found = {"cpus": sorted(os.sched_getaffinity(0)), "cwd": os.getcwd(), "argv": sys.argv[1:], "uid": os.getuid(), "groups": groups}
found["env"] = {name: os.environ.get(name) for name in ("BAYESTUNER_BATCH", "OMP_PLACES", "NOTE")}
pathlib.Path(sys.argv[1]).write_text(json.dumps(found))
if len(sys.argv) > 2:
    hog = bytearray(96 << 20)
    for i in range(0, len(hog), 4096):
        hog[i] = 1
    pathlib.Path(sys.argv[1] + ".survived").touch()
"""


@pytest.fixture
def paste():
    """Paste the line for a job into a shell of another folder; returns how it ended, what the job has written and the CPU it was given."""
    way = way_here(BOTH)
    if way.kind not in ("cgroup-v1", "cgroup-v2"):
        pytest.skip(f"here the way is {way.kind}")
    name = f"bayestuner-test-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "the job"
        folder.mkdir()
        for reachable in (Path(place), folder):
            reachable.chmod(0o777)
        (folder / "job.py").write_text(JOB)

        def paste(*command, memory=64 << 20, user=None):
            cpu = min(os.sched_getaffinity(0))
            env = {"BAYESTUNER_BATCH": "8", "NOTE": "it's $HOME"}
            launch = Launch(name, command or (sys.executable, "job.py", "out"), env, str(folder), user, (cpu,), (), memory)
            shell = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OMP_PLACES": "cores"}
            words = ["bash", "--norc", "-c", apply_line(launch, way)]
            done = subprocess.run(words, cwd="/", env=shell, capture_output=True, text=True, timeout=120, check=False)
            return done, folder, cpu

        yield paste
    for parent in way.folders.values():
        if (parent / name).is_dir():
            (parent / name).rmdir()


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_pasted_into_a_shell_the_job_has_folder_variables_and_limits(paste, monkeypatch):
    monkeypatch.setenv("OMP_PLACES", "cores")
    for _ in range(2):  # the group of the first start is still there
        done, folder, cpu = paste()
        assert (done.returncode, done.stderr) == (0, "")
        seen = json.loads((folder / "out").read_text())
        assert seen["cpus"] == [cpu]
        assert seen["cwd"] == str(folder)
        assert seen["env"] == {"BAYESTUNER_BATCH": "8", "OMP_PLACES": None, "NOTE": "it's $HOME"}


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_pasted_the_memory_limit_holds_and_may_be_raised_by_a_later_start(paste):
    hog = (sys.executable, "job.py", "out", "hog")
    done, folder, _ = paste(*hog, memory=64 << 20)
    assert done.returncode in (-9, 137)
    assert not (folder / "out.survived").exists()
    done, _, _ = paste(*hog, memory=256 << 20)
    assert done.returncode == 0, done.stderr
    assert (folder / "out.survived").exists()


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_pasted_the_job_runs_as_its_user(paste):
    done, folder, _ = paste("/bin/sh", "-c", "id -u > out; grep NoNewPrivs /proc/self/status >> out", user="nobody")
    assert done.returncode == 0, done.stderr
    assert (folder / "out").read_text().split() == [str(pwd.getpwnam("nobody").pw_uid), "NoNewPrivs:", "1"]


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_line_that_tune_prints_starts_the_job_within_its_limits(tmp_path):
    name = f"bayestuner-test-{uuid.uuid4().hex[:8]}"
    job = write_job(tmp_path, budget=2, replace=[('name = "sleeper"', f'name = "{name}"'), ("repeats = 2", "repeats = 1")])
    done = subprocess.run(bayestuner("tune", job, "--study", tmp_path / "s"), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode in RECOMMENDED, done.stderr
    line = next(line.partition("apply with")[2].strip() for line in done.stdout.splitlines() if "apply with" in line)
    shown = subprocess.run(bayestuner("show", tmp_path / "s", "--json"), capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(shown.stdout)["result"]["apply"] == {"folder": str(tmp_path), "line": line, "left_out": None}
    program = tmp_path / "program.py"
    assert processes_of(program) == []
    shell = subprocess.Popen(["bash", "--norc", "-c", line], cwd="/", env={"PATH": os.environ["PATH"]})
    try:
        wait_for(lambda: processes_of(program))
        (pid,) = processes_of(program)
        groups = dict(row.split(":", 2)[1:] for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        assert sum(path.endswith(f"/{name}") for path in groups.values()) in (1, 2)  # v2, or cpuset and memory of v1
        assert b"BAYESTUNER_BATCH_SIZE=" in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path)  # noqa: PTH115 - the text of the link
    finally:
        shell.kill()
        shell.wait()
    for folder in way_here(BOTH).folders.values():
        (folder / name).rmdir()


EXPORTED = {
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_DEFAULT_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "KMP_DEVICE_THREAD_LIMIT",
    "KMP_ALL_THREADS",
    "KMP_MAX_THREADS",
    "OMP_DYNAMIC",
    "KMP_PLACE_THREADS",
    "KMP_TOPOLOGY_METHOD",
    "KMP_AFFINITY",
    "KMP_HW_SUBSET",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "GOMP_CPU_AFFINITY",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "BLIS_NUM_THREADS",
    "BLIS_JC_NT",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "GOMAXPROCS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "ATEN_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "TBB_NUM_THREADS",
    "JULIA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMPI_MCA_hwloc_base_binding_policy",
    "PYTHON_CPU_COUNT",
}


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_a_variable_that_counts_or_places_threads_is_known_by_its_name(name):
    assert sets_threads(name)


def test_other_variables_of_the_same_libraries_are_left_alone():
    assert not any(map(sets_threads, ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "MKL_ENABLE_INSTRUCTIONS", "THREADS_OF_LIFE")))
