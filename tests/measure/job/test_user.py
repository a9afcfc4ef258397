"""A job that runs as another user: real processes, as root becoming nobody; every test runs with the extension and with the shim."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from leftovers import assert_all_dead
from patience import ended

from bayestuner.errors import InvalidJob
from bayestuner.measure.cgroup import spawn as spawn_module
from bayestuner.measure.cgroup.isolation import Launch, Limits
from bayestuner.measure.cgroup.spawn import spawn
from bayestuner.measure.cgroup.spawn_request import Confinement
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.job.user import access_problem, credentials_of
from bayestuner.measure.run.placement import environment
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Failed, Measured

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
PATIENCE_S = 120
PYTHON = next(
    (p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).exists() and not access_problem(Path(p), "nobody")),
    sys.executable,
)
"""One that nobody may run: that of the tests may lie in somebody's home."""


@pytest.fixture(params=["extension", "shim"], autouse=True)
def way(request, monkeypatch):
    """Run the test with bt_spawn, and again as if the extension had not been built."""
    if request.param == "shim":
        monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    elif not spawn_module.extension_is_built():
        pytest.skip("the C extension is not built")
    return request.param


@pytest.fixture
def public():
    """A folder that every user may enter and write; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-test-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def run_as_nobody(code, folder, *, output="output"):
    """Run Python code as nobody; the text it printed."""
    with (folder / output).open("wb") as file:
        argv = [PYTHON, "-I", "-S", "-c", textwrap.dedent(code)]
        env = {"PATH": os.environ["PATH"]}
        launch = Launch(argv, env, str(folder), file.fileno(), file.fileno(), credentials=credentials_of("nobody"))
        status = spawn(launch, Confinement()).wait(PATIENCE_S)
    text = (folder / output).read_text()
    assert status == 0, text
    return text


def test_it_is_that_user_without_any_capability(public):
    code = """
        import json, os
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        names = ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
        print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), {n: int(status[n], 16) for n in names}]))
    """
    uids, gids, groups, status = json.loads(run_as_nobody(code, public))
    nobody = credentials_of("nobody")
    assert (uids, gids, sorted(groups)) == ([nobody.uid] * 3, [nobody.gid] * 3, sorted(nobody.groups))
    assert status == {"CapPrm": 0, "CapEff": 0, "CapAmb": 0, "NoNewPrivs": 1}


def test_it_cannot_become_root_again_nor_by_a_setuid_program(public):
    setuid = shutil.copy(shutil.which("id"), public / "id")
    os.chown(setuid, 0, 0)
    Path(setuid).chmod(0o4755)
    code = f"""
        import os, subprocess
        for change in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0), lambda: os.setgroups([0])):
            try:
                change()
            except PermissionError:
                print("refused")
        print(subprocess.run([{str(setuid)!r}, "-u"], capture_output=True, text=True).stdout.strip())
    """
    assert run_as_nobody(code, public).split() == ["refused"] * 4 + [str(credentials_of("nobody").uid)]


def test_root_keeps_the_study_from_it_and_no_descriptor_leads_there(public):
    secret = public / "secret"
    secret.write_text("of the study")
    secret.chmod(0o600)
    code = f"""
        import os
        try:
            open({str(secret)!r}).read()
        except PermissionError:
            print("refused")
        print(sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + fd)))
    """
    held = os.open(secret, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        assert run_as_nobody(code, public).splitlines() == ["refused", "[0, 1, 2]"]
    finally:
        os.close(held)


KEYS = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
SEARCH, JOIN, SESSION = 10, 1, -3
add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[__import__("os").uname().machine]
"""


def test_it_does_not_get_the_keys_of_the_session_that_starts_it(public, way):
    """Whoever has a keyring possesses the keys in it, whatever his user."""
    look = KEYS + 'print(libc.syscall(keyctl, SEARCH, SESSION, b"user", b"bayestuner-test", 0) > 0)'
    code = f"""{KEYS}
import os
if libc.syscall(keyctl, JOIN, None) < 0:
    sys.exit(77)
assert libc.syscall(add_key, b"user", b"bayestuner-test", b"secret", ctypes.c_size_t(6), SESSION) > 0
if {way == "shim"}:
    sys.modules["bayestuner._native"] = None
from bayestuner.measure.cgroup.isolation import Launch
from bayestuner.measure.cgroup.spawn import spawn
from bayestuner.measure.cgroup.spawn_request import Confinement
from bayestuner.measure.job.user import credentials_of
for user in (None, "nobody"):
    launch = Launch([{PYTHON!r}, "-I", "-S", "-c", {look!r}], {{}}, {str(public)!r}, 1, 2, credentials=credentials_of(user))
    assert spawn(launch, Confinement()).wait({PATIENCE_S}) == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no keyrings, or they are forbidden here")
    assert (done.stdout.split(), done.stderr, done.returncode) == (["True", "False"], "", 0)


def test_it_still_dies_with_a_tuner_that_is_killed(public):
    """Becoming another user clears the death signal, so the order of steps matters."""
    code = """
        import ctypes
        signal = ctypes.c_int()
        assert ctypes.CDLL(None).prctl(2, ctypes.byref(signal), 0, 0, 0) == 0
        print(signal.value)
    """
    assert run_as_nobody(code, public).split() == ["9"]


def test_it_is_gone_once_its_tuner_was_killed(public, way):
    lines = [
        "import sys, time",
        "from bayestuner.measure.cgroup.isolation import Launch",
        "from bayestuner.measure.cgroup.spawn import spawn",
        "from bayestuner.measure.cgroup.spawn_request import Confinement",
        "from bayestuner.measure.job.user import credentials_of",
        'sys.modules["bayestuner._native"] = None' if way == "shim" else "",
        "launch = Launch(['sleep', '1000'], {'PATH': '/usr/bin:/bin'}, '/', 1, 1, credentials=credentials_of('nobody'))",
        "print(spawn(launch, Confinement()).pid, flush=True)",
        "time.sleep(1000)",
    ]
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True) as tuner:
        pid = int(tuner.stdout.readline())
        assert Path(f"/proc/{pid}").stat().st_uid == credentials_of("nobody").uid
        held = os.pidfd_open(pid)
        tuner.kill()
        tuner.wait()
        assert ended(held)


def test_a_program_it_may_not_read_is_said_with_what_to_do(public):
    closed = public / "closed"
    closed.mkdir(mode=0o700)
    program = shutil.copy(shutil.which("true"), closed / "true")
    launch = Launch([str(program)], {}, str(public), 1, 2, credentials=credentials_of("nobody"))
    with pytest.raises(PermissionError, match=r"must be able to execute it"):
        spawn(launch, Confinement())
    launch = Launch(["true"], {"PATH": os.defpath}, str(closed), 1, 2, credentials=credentials_of("nobody"))
    with pytest.raises(PermissionError, match="folder to run in"):
        spawn(launch, Confinement())


JOB = """
[job]
command = ["{python}", "{program}"]
user = "nobody"
[knobs]
cores = {{ kind = "cores", values = [1] }}
[goal]
minimize = "cpu_s_per_item"
[measure]
min_seconds = 0.3
max_seconds = 3.0
relative_error = 0.5
energy = []
"""
PROGRAM = """
import os, sys, time, json
note = open("note", "a")
note.write(f"{os.getpid()}\\n")
note.flush()
info = {"uid": os.getuid(), "home": os.environ["HOME"], "user": os.environ["USER"], "xdg": os.environ.get("XDG_RUNTIME_DIR")}
with open("/dev/stderr", "w") as again:  # opened anew by name, which asks whose the pipe is
    print(json.dumps(info), file=again)
try:
    open("/sys/fs/cgroup/cgroup.procs", "w").write("0")
except OSError:
    pass
else:
    sys.exit("could leave its group")
fd = int(os.environ["BAYESTUNER_FD"])
os.write(fd, b"ready %d\\n" % time.monotonic_ns())
while True:
    time.sleep(0.01)
    os.write(fd, b"done 1 %d\\n" % time.monotonic_ns())
"""


def test_a_run_as_nobody_is_measured_like_any_other(public, isolation, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    (public / "program.py").write_text(PROGRAM)
    job = parse_job(JOB.format(python=PYTHON, program=public / "program.py"), public / "job.toml")
    with Runner(job, meter=None, isolation=isolation) as runner:
        record = runner.run(job.all_max_config())
    assert isinstance(record.outcome, Measured), record
    said = json.loads(next(line for line in record.details["output_tail"] if line.startswith("{")))
    assert said == {"uid": 65534, "home": "/nonexistent", "user": "nobody", "xdg": None}
    assert_all_dead(public / "note")


def test_a_folder_that_is_closed_to_the_user_is_a_mistake_of_the_job_file(public):
    public.chmod(0o700)
    with pytest.raises(InvalidJob, match=rf"job\.cwd: {public}, on the way to {public}, can't be entered by the user 'nobody'"):
        parse_job(JOB.format(python=PYTHON, program="x"), public / "job.toml")


def test_a_program_that_is_closed_to_the_user_is_a_mistake_of_the_job_file(public):
    closed = public / "closed"
    closed.mkdir()
    program = shutil.copy(shutil.which("true"), closed / "true")
    (public / "link").symlink_to(program)
    closed.chmod(0o700)
    for name in (program, public / "link"):
        with pytest.raises(InvalidJob, match=rf"job\.command: {closed}, on the way to {name}, can't be entered"):
            parse_job(JOB.format(python=name, program="x"), public / "job.toml")
    closed.chmod(0o711)
    assert parse_job(JOB.format(python=program, program="x"), public / "job.toml").user == "nobody"
    Path(program).chmod(0o754)
    with pytest.raises(InvalidJob, match="can't be executed by the user 'nobody'"):
        parse_job(JOB.format(python=program, program="x"), public / "job.toml")


def test_a_folder_closed_since_then_fails_the_run_with_that_reason(public, isolation):
    (public / "program.py").write_text(PROGRAM)
    job = parse_job(JOB.format(python=PYTHON, program=public / "program.py"), public / "job.toml")
    public.chmod(0o700)
    with Runner(job, meter=None, isolation=isolation) as runner:
        outcome = runner.run(job.all_max_config()).outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind == "error"
    assert "folder to run in: Permission denied" in outcome.message


def test_groups_hold_a_job_of_another_user(public, isolation):
    """Killed with its group, by a root that isn't its user."""
    code = "import time; print('up', flush=True); time.sleep(1000)"
    with isolation.create(Limits()) as group, (public / "out").open("wb") as file:
        argv = [PYTHON, "-I", "-S", "-c", code]
        who = credentials_of("nobody")
        child = group.launch(Launch(argv, {}, "/", file.fileno(), file.fileno(), credentials=who))
        assert child.pid in group.pids()
        group.kill()
        assert child.wait(PATIENCE_S) == -9


def test_a_user_that_does_not_exist_is_a_mistake_of_the_job_file(public):
    text = JOB.format(python=PYTHON, program="x").replace('"nobody"', '"no-such-user"')
    with pytest.raises(InvalidJob, match=r"job\.user: there is no user 'no-such-user'"):
        parse_job(text, public / "job.toml")


def test_only_root_may_name_another_user(public, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(InvalidJob, match=r"only root may start a job as 'nobody'"):
        parse_job(JOB.format(python=PYTHON, program="x"), public / "job.toml")


def test_ones_own_name_changes_nothing():
    assert credentials_of(None) is None
    assert credentials_of("root") is None


def test_the_job_file_wins_over_the_users_own_variables(public):
    text = JOB.format(python=PYTHON, program="x").replace('user = "nobody"', 'user = "nobody"\nenv = { HOME = "/srv/models" }')
    job = parse_job(text, public / "job.toml")
    env = environment(job, job.all_max_config(), 1, None, None)
    assert (env["HOME"], env["USER"]) == ("/srv/models", "nobody")
