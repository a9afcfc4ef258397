"""Starting a process through `shim.py`, a Python program that becomes the job: the way without the C extension."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bayestuner.measure.cgroup.child import PidChild, reap_later
from bayestuner.measure.cgroup.isolation import Launch
from bayestuner.measure.cgroup.spawn_request import Confinement, Descriptors, SpawnFault, dies_with_this_thread

_SHIM = Path(__file__).with_name("shim.py")
_FIRST_FREE_FD = 3
EXEC_TIMEOUT_S = 30.0
"""How long the start may take, as in bt_spawn: in a group that somebody has frozen it would never end."""


def spawn_shim(program: str, launch: Launch, confinement: Confinement, opened: Descriptors) -> PidChild:
    """Start `program` through the shim; `SpawnFault` says which step failed."""
    if not sys.executable:
        raise SpawnFault("shim: this program does not say where its Python is (sys.executable)", 2, program)
    who = launch.credentials
    plan = {
        "path": program,
        "argv": list(launch.argv),
        "env": dict(launch.env),
        "cwd": launch.cwd,
        "join_fds": list(opened.join),
        "cpus": None if confinement.cpus is None else list(confinement.cpus),
        "pass_fds": list(launch.pass_fds),
        "address_space": confinement.address_space_bytes,
        "parent": os.getpid() if dies_with_this_thread() else None,
        "credentials": None if who is None else {"uid": who.uid, "gid": who.gid, "groups": list(who.groups)},
    }
    kept: list[int] = []
    try:
        plan_fd = os.memfd_create("bayestuner-launch")  # a file, not a pipe: an environment may be larger than a pipe
        kept.append(plan_fd)
        with os.fdopen(os.dup(plan_fd), "w", encoding="ascii") as file:
            json.dump(plan, file)
        os.lseek(plan_fd, 0, os.SEEK_SET)
        report_end, child_end = (_away_from_stdio(fd) for fd in os.pipe())
        kept.append(report_end)
        copies = [_copy(fd) for fd in (launch.stdout_fd, launch.stderr_fd)]
        plan_copy = _away_from_stdio(os.dup(plan_fd))
        try:
            pid = _start(plan_copy, child_end, copies, (*opened.join, *launch.pass_fds))
        finally:
            for fd in (child_end, plan_copy, *copies):
                os.close(fd)
        pidfd = _hold(pid)
        report = _read_all(report_end)
    finally:
        for fd in kept:
            os.close(fd)
    child = PidChild(pid, pidfd)
    if report is None:
        child.send(signal.SIGKILL)
        reap_later(child)
        raise SpawnFault("timeout", errno.ETIMEDOUT, program)
    if report:
        child.wait(EXEC_TIMEOUT_S)
        stage, number, index = json.loads(report)
        raise SpawnFault(stage, number, str(confinement.join[index]) if stage == "join" else program)
    return child


def _copy(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)


def _away_from_stdio(fd: int) -> int:
    if fd >= _FIRST_FREE_FD:
        return fd
    moved = _copy(fd)
    os.close(fd)
    return moved


def _start(plan_fd: int, report_fd: int, stdio: Sequence[int], inherited: Sequence[int]) -> int:
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(stdio, (1, 2), strict=True)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (plan_fd, report_fd, *inherited)]  # onto itself: inherited
    everything = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
    argv = [sys.executable, "-I", "-S", str(_SHIM), str(plan_fd), str(report_fd)]
    return os.posix_spawn(sys.executable, argv, {}, file_actions=actions, setsigmask=(), setsigdef=everything)


def _hold(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _read_all(fd: int) -> bytes | None:
    """What the shim reports, read until it closes its end: by becoming the job, or by giving up. None where neither happens in time."""
    pieces: list[bytes] = []
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    deadline = time.monotonic() + EXEC_TIMEOUT_S
    while waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(fd, 4096)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
    return None
