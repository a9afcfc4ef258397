"""What a run may have left behind, looked for in /proc and in the cgroup tree."""

import os
import time
from pathlib import Path


def groups_of(*pids):
    """Cgroups that processes made and that are still there."""
    ours = tuple(f"bayestuner-{pid}-" for pid in pids)
    found = []
    for folder, names, _ in os.walk("/sys/fs/cgroup"):  # groups of others come and go meanwhile
        found += [f"{folder}/{name}" for name in names if name.startswith(ours)]
    return found


def own_groups():
    """Cgroups that this very process made and that are still there."""
    return groups_of(os.getpid())


def alive(pid):
    """Whether a process runs (a zombie doesn't)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def children_of(pid):
    """Processes whose parent is `pid`, zombies too."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found


def assert_all_dead(pid_file):
    """Every process that noted its pid is gone (within a few seconds: killing is not instant on a loaded machine)."""
    pids = [int(line) for line in Path(pid_file).read_text().split()]
    assert pids
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []
