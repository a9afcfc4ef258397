"""EBUSY of the real kernel: a group that somebody keeps busy after its processes were killed."""

import subprocess
import sys
import threading
import time

import pytest

from bayestuner.measure.cgroup import group as group_module
from bayestuner.measure.cgroup.isolation import GroupFault, Limits


@pytest.fixture
def intruder():
    """A process of a stranger, in no group of ours."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def intrude(group, process, monkeypatch):
    """Move the stranger in once the group's own processes are dead: nothing of ours will kill it any more."""
    monkeypatch.setattr(group, "kill", lambda: None)
    for folder in group.folders:
        (folder / "cgroup.procs").write_text(str(process.pid))
    with pytest.raises(OSError, match="busy"):
        group.folders[0].rmdir()


def test_a_busy_group_is_removed_as_soon_as_it_is_free(v1, intruder, monkeypatch):
    group = v1.create(Limits())
    intrude(group, intruder, monkeypatch)
    threading.Timer(0.3, lambda: (intruder.kill(), intruder.wait())).start()
    begun = time.monotonic()
    group.remove()
    assert time.monotonic() - begun >= 0.2
    assert not any(folder.exists() for folder in group.folders)


def test_a_group_that_stays_busy_is_told(v1, intruder, monkeypatch):
    monkeypatch.setattr(group_module, "RMDIR_TIMEOUT_S", 0.3)
    group = v1.create(Limits())
    intrude(group, intruder, monkeypatch)
    with pytest.raises(GroupFault, match=r"can't be removed: .*in use"):
        group.remove()
    intruder.kill()
    intruder.wait()
    for folder in group.folders:
        folder.rmdir()
