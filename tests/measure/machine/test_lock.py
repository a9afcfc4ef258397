"""One BayesTuner at a time, with real processes that hold, wait for and die with the lock."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from other_user import needs_root
from patience import wait_for

from bayestuner.errors import MachineBusy, RuntimeFolderUnusable
from bayestuner.measure.machine import holder as holder_module
from bayestuner.measure.machine.holder import FILE_NAME as SIGNATURE
from bayestuner.measure.machine.lock import FILE_NAME, holder_of_machine, machine_lock
from bayestuner.measure.machine.runtime import VARIABLE, make_runtime_folder, runtime_folder

HOLD = """
import sys, time
from bayestuner.measure.machine.lock import machine_lock
with machine_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A runtime folder of this test alone, inherited by the processes it starts."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def holder(folder):
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, "/studies/first"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_is_refused_and_told_which_process_and_study_holds_it(holder):
    with pytest.raises(MachineBusy, match=rf"process {holder.pid}, study /studies/first\) is measuring on this machine"):
        with machine_lock("/studies/second"):
            raise AssertionError("both hold it")
    assert holder_of_machine() == f"another BayesTuner (process {holder.pid}, study /studies/first)"


def test_a_glance_at_who_holds_it_does_not_keep_anybody_out(folder):
    make_runtime_folder()
    with machine_lock("/studies/first"):
        assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    glancing = """
import time
from bayestuner.measure.machine.lock import holder_of_machine
print("on", flush=True)
while True:
    holder_of_machine()
    time.sleep(0.002)
"""
    with subprocess.Popen([sys.executable, "-c", glancing], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "on\n"
        try:
            for _ in range(5):
                with machine_lock("/studies/first"):
                    pass
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_any_death_lets_go_of_it(holder, number):
    holder.send_signal(number)
    holder.wait()
    assert holder_of_machine() is None
    with machine_lock("/studies/second"):
        pass


def test_one_waits_until_the_other_has_ended(holder, folder):
    told = []

    def tell(text):
        told.append(text)
        holder.kill()

    with machine_lock("/studies/second", wait=True, tell=tell):
        assert json.loads((folder / SIGNATURE).read_text())["pid"] == os.getpid()
    assert told == [f"waiting for another BayesTuner (process {holder.pid}, study /studies/first)"]


def test_it_is_free_again_after_an_error_and_says_nothing_of_its_last_holder(folder):
    with pytest.raises(ZeroDivisionError):
        with machine_lock("/studies/first"):
            raise ZeroDivisionError
    assert not (folder / SIGNATURE).exists()
    with machine_lock("/studies/second"), pytest.raises(MachineBusy, match=r"study /studies/second"):
        with machine_lock("/studies/third"):
            raise AssertionError("held twice by one process")


def test_a_holder_that_wrote_nothing_is_named_by_the_kernel(holder, folder):
    (folder / SIGNATURE).write_text("")
    with pytest.raises(MachineBusy, match=rf"another BayesTuner \(process {holder.pid}\) is measuring"):
        with machine_lock("/studies/second"):
            raise AssertionError("both hold it")


def test_what_a_dead_holder_wrote_is_not_said_of_a_living_one(holder, folder, monkeypatch):
    monkeypatch.setattr("bayestuner.measure.machine.lock._DYING_S", 0.2)
    (folder / SIGNATURE).write_text(json.dumps({"pid": 2**22, "start_ticks": 1, "study": "/studies/old"}))
    with pytest.raises(MachineBusy) as caught:
        with machine_lock("/studies/second"):
            raise AssertionError("both hold it")
    assert "/studies/old" not in str(caught.value)


def test_its_programs_do_not_inherit_it(folder):
    with machine_lock("/studies/first"):
        child = subprocess.Popen(["sleep", "1000"], close_fds=False)
    try:
        assert holder_of_machine() is None
    finally:
        child.kill()
        child.wait()


AS_USER = """
import os, sys
from pathlib import Path
from bayestuner.measure.machine import holder, lock, runtime
base, uid = Path(sys.argv[1]), int(sys.argv[2])
lock.ROOT_FOLDER = runtime.ROOT_FOLDER = base / "root"
holder.SOCKET_NAME = "\\0" + str(base)
holder.holder_of_name()
if uid:
    os.environ["XDG_RUNTIME_DIR"] = str(base / str(uid))
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
"""
TAKE = """
try:
    with lock.machine_lock("/studies/x", tell=print):
        print("held", flush=True)
        sys.stdin.read()
except Exception as error:
    print(error)
"""


@pytest.fixture
def machine(monkeypatch):
    """A folder that stands for /run, with a session's folder for each of two ordinary users."""
    monkeypatch.delenv(VARIABLE)
    with tempfile.TemporaryDirectory(prefix="bayestuner-test-", dir="/tmp") as name:
        base = Path(name)
        base.chmod(0o755)
        for uid in (5, 65534):
            (base / str(uid)).mkdir(mode=0o700)
            os.chown(base / str(uid), uid, uid)
        yield base


@contextmanager
def holding(base, uid):
    """A process of a user that has taken the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", AS_USER + TAKE, str(base), str(uid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def as_user(base, uid, code=TAKE):
    argv = [sys.executable, "-c", AS_USER + code, str(base), str(uid)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120, input="").stdout


@needs_root
def test_an_ordinary_user_sees_that_root_is_measuring_and_cannot_hold_its_lock(machine):
    attack = """
import fcntl
try:
    fcntl.flock(os.open(base / "root" / "machine.lock", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("held")
except OSError as error:
    print(type(error).__name__)
"""
    with holding(machine, 0) as root:
        assert f"process {root.pid}, study /studies/x) is measuring" in as_user(machine, 65534)
        assert as_user(machine, 65534, "print(lock.holder_of_machine())").strip().endswith("study /studies/x)")
    assert as_user(machine, 65534, attack).strip() == "PermissionError"
    assert as_user(machine, 65534).endswith("held\n")


@needs_root
def test_ordinary_users_exclude_each_other_though_root_never_ran_and_root_is_told_but_not_refused(machine):
    with holding(machine, 5) as games:
        said = as_user(machine, 65534)
        assert f"a BayesTuner of user games (process {games.pid}) is measuring on this machine, and two at once" in said
        assert f"user games (process {games.pid})" in as_user(machine, 65534, "print(lock.holder_of_machine())")
        told, held = as_user(machine, 0).splitlines()
        assert f"user games (process {games.pid}) is measuring on this machine too" in told
        assert held == "held"
    assert as_user(machine, 65534) == "held\n"


@needs_root
def test_a_lock_that_others_could_hold_already_is_made_anew(machine):
    (machine / "root").mkdir(mode=0o755)
    (machine / "root" / FILE_NAME).write_text("")
    (machine / "root" / FILE_NAME).chmod(0o644)
    with (machine / "root" / FILE_NAME).open() as hers:  # opened before; she may keep it for ever
        fcntl.flock(hers, fcntl.LOCK_EX)
        assert as_user(machine, 0) == "held\n"


def test_many_who_ask_do_not_stop_the_next_from_asking(monkeypatch, tmp_path):
    monkeypatch.setattr(holder_module, "SOCKET_NAME", f"\0{tmp_path}")
    assert holder_module.holder_of_name() is None
    with holder_module.take_name():
        assert holder_module.take_name() is None
        for _ in range(200):
            assert f"(process {os.getpid()})" in holder_module.holder_of_name()
    assert holder_module.holder_of_name() is None


@pytest.mark.parametrize("plant", ["pipe", "folder", "link", "hard link"])
def test_what_lies_in_the_place_of_the_lock_is_said_and_not_emptied(folder, tmp_path, plant):
    make_runtime_folder()
    (tmp_path / "precious").write_text("precious")
    path = folder / FILE_NAME
    match plant:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "precious")
        case "hard link":
            path.hardlink_to(tmp_path / "precious")
    with pytest.raises(RuntimeFolderUnusable, match=rf"{FILE_NAME} can't be opened: .*{plant}.*{VARIABLE}"), machine_lock("/studies/x"):
        pass
    assert holder_of_machine() is None
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_folder_of_somebody_else_is_not_believed(folder):
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(RuntimeFolderUnusable, match=rf"can be written by others.*chmod go-w {folder}"):
        make_runtime_folder()
    folder.rmdir()
    folder.symlink_to("/run")
    with pytest.raises(RuntimeFolderUnusable, match=f"not a folder of this user.*{VARIABLE}"):
        make_runtime_folder()


def test_a_folder_that_cannot_be_made_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "run"))
    with pytest.raises(RuntimeFolderUnusable, match=VARIABLE):
        make_runtime_folder()


def test_a_lock_that_cannot_be_opened_says_what_to_set(folder):
    folder.mkdir(mode=0o700)
    (folder / FILE_NAME).symlink_to("/etc/hostname")  # not followed
    with pytest.raises(RuntimeFolderUnusable, match=rf"{FILE_NAME} can't be opened.*{VARIABLE}"):
        with machine_lock("/studies/first"):
            pass


def test_two_that_make_the_folder_at_once_both_have_it(folder):
    code = "from bayestuner.measure.machine.runtime import make_runtime_folder; make_runtime_folder()"
    makers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [maker.wait(120) for maker in makers] == [0] * 4


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folder() == tmp_path / "bayestuner"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_folder().name == "bayestuner-4321"  # no session: a folder of its own in the temporary one


def test_waiting_is_interrupted_by_a_signal(holder):
    code = "import sys; from bayestuner.measure.machine.lock import machine_lock\nwith machine_lock('x', wait=True, tell=print): pass"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout.readline().startswith("waiting for another")
        waiting.send_signal(signal.SIGINT)
        wait_for(lambda: waiting.poll() is not None)
        assert "KeyboardInterrupt" in waiting.stderr.read()


LEAVE_A_CHILD = """
import os, signal, sys, time
from bayestuner.measure.machine.lock import machine_lock
with machine_lock("/studies/killed"):
    if os.fork() == 0:  # as between the fork and the exec of a job: it has the lock's descriptor still
        print("held", flush=True)
        time.sleep(float(sys.argv[1]))
        os._exit(0)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("folder")
def test_the_last_child_of_a_killed_holder_is_waited_for_and_not_called_a_holder():
    with subprocess.Popen([sys.executable, "-c", LEAVE_A_CHILD, "1.5"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        process.wait()
        with machine_lock("/studies/next"):
            pass


@pytest.mark.usefixtures("folder")
def test_a_child_that_keeps_a_dead_holders_lock_for_long_is_refused(monkeypatch):
    monkeypatch.setattr("bayestuner.measure.machine.lock._DYING_S", 0.2)
    with subprocess.Popen([sys.executable, "-c", LEAVE_A_CHILD, "5"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        process.wait()
        with pytest.raises(MachineBusy, match="another BayesTuner"), machine_lock("/studies/next"):
            pass
