"""Set-up of the tests of limits: both ways of launching, real isolations where this machine has them, and a check that nothing stays."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from bayestuner.measure.cgroup import spawn as spawn_module
from bayestuner.measure.cgroup.child import reap_dead
from bayestuner.measure.cgroup.hierarchy import discover
from bayestuner.measure.cgroup.isolation import Launch
from bayestuner.measure.cgroup.names import owner_of
from bayestuner.measure.cgroup.v1 import V1Isolation
from bayestuner.measure.cgroup.v2 import V2Isolation


@pytest.fixture(params=["extension", "shim"])
def way(request, monkeypatch):
    """Run the test with bt_spawn, and again as if the extension had not been built."""
    if request.param == "shim":
        monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    elif not spawn_module.extension_is_built():
        pytest.skip("the C extension is not built")
    assert spawn_module.extension_is_built() == (request.param == "extension")
    return request.param


class Output:
    """Where a job's stdout and stderr go, and the text that arrived."""

    def __init__(self, folder):
        self.path = folder / "output"
        self.file = self.path.open("wb")

    @property
    def text(self):
        return self.path.read_text()


@pytest.fixture
def output(tmp_path):
    out = Output(tmp_path)
    yield out
    out.file.close()


@pytest.fixture
def job(output, tmp_path):
    """Makes a Launch: of Python code, or of an argv."""

    def make(code_or_argv, *, env=None, pass_fds=(), cwd=None):
        argv = code_or_argv
        if isinstance(argv, str):
            argv = [sys.executable, "-I", "-S", "-c", textwrap.dedent(argv)]
        base = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        fd = output.file.fileno()
        return Launch(argv, base if env is None else env, str(cwd or tmp_path), fd, fd, tuple(pass_fds))

    return make


def writable(place):
    return place is not None and not place.mount.read_only and os.access(place.folder, os.W_OK)


@pytest.fixture
def v1():
    """Real cgroup v1 limits."""
    own_groups = discover().v1
    missing = sorted({"cpuset", "memory", "freezer", "cpuacct"} - {name for name, place in own_groups.items() if writable(place)})
    if missing:
        pytest.skip(f"no writable cgroup v1 controllers here: {', '.join(missing)}")
    return V1Isolation(own_groups)


@pytest.fixture
def v2_place():
    place = discover().v2
    if not writable(place) or not (place.folder / "cgroup.procs").exists():
        pytest.skip("no writable cgroup v2 hierarchy here")
    return place


@pytest.fixture
def v2(v2_place):
    """Real cgroup v2 groups as they are on a machine whose controllers are bound to v1: without limits."""
    return V2Isolation(v2_place.folder, v2_place.mount.point, frozenset())


def our_folders():
    """Every group that this process has made and not removed."""
    found = []
    for root, names, _ in os.walk("/sys/fs/cgroup"):
        found += [Path(root, name) for name in names if (owner := owner_of(name)) and owner.pid == os.getpid()]
    return found


@pytest.fixture(autouse=True)
def nothing_stays():
    """No group of ours and no descriptor outlives a test."""
    before = open_fds()
    yield
    assert our_folders() == []
    reap_dead()  # what was killed before it could die, in a frozen group, is held on to until then
    assert not open_fds() - before


def open_fds():
    """Numbers of this process's open descriptors."""
    with os.scandir("/proc/self/fd") as entries:
        return {entry.name for entry in entries}
