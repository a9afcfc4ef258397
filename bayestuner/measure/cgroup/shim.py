"""A program that joins a job's groups, sets its CPUs, and then becomes the job by exec.

It is run as ``python -I -S shim.py PLAN_FD REPORT_FD`` where the C extension was not built, and does what the extension's `bt_spawn` does,
in the same order. The plan is a JSON object that `spawn_shim` writes. Where a step fails, ``[stage, errno, index]`` is written to the
report pipe. Standard library only: the job's user may be unable to read anything else.
"""

import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
"""Number of the system call keyctl, for which libc has no function."""


def _find_calls() -> tuple[Callable[[int, int], None], Callable[[], None]] | None:
    """The system call prctl, and one that leaves the caller's keyring; None where this Python has no ctypes (built without libffi)."""
    try:
        import ctypes
    except ImportError:
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def refuse(number: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    def prctl(option: int, value: int) -> None:
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            refuse(ctypes.get_errno())

    def leave_keyring() -> None:
        number = _SYS_KEYCTL.get(os.uname().machine)
        if number is None:
            refuse(errno.ENOSYS)
        joined = libc.syscall(ctypes.c_long(number), ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING), None) >= 0
        if not joined and ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):  # after these two the job can use no keyring either
            refuse(ctypes.get_errno())

    return prctl, leave_keyring


def _become(uid: int, gid: int, groups: list[int]) -> None:
    """Become this user, without any capability."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123  (pathlib would cost more than the rest)
        status = dict(line.split(":", 1) for line in file)
    if uid != 0 and any(int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))  # with some securebits the change of user keeps them


def _inherit_only(pass_fds: list[int], report_fd: int) -> None:
    with os.scandir("/proc/self/fd") as entries:
        numbers = [int(entry.name) for entry in entries]
    for fd in numbers:
        if fd > 2:
            try:
                os.set_inheritable(fd, fd in pass_fds and fd != report_fd)
            except OSError:
                continue  # that of the listing itself, closed by now


def main(plan_fd: int, report_fd: int) -> None:
    """Carry out the plan; it never returns: the process becomes the job or exits."""
    stage, index = "shim", -1
    try:
        with os.fdopen(plan_fd, encoding="ascii") as file:
            plan = json.load(file)
        calls = _find_calls()  # now: as another user, this Python's own files may be out of reach
        stage = "join"
        for index, fd in enumerate(plan["join_fds"]):  # noqa: B007  (index is for the report)
            os.write(fd, b"0")
        stage, index = "affinity", -1
        if plan["cpus"] is not None:
            os.sched_setaffinity(0, plan["cpus"])
        stage = "session"
        os.setsid()
        stage = "keyring"
        if plan["credentials"] is not None and calls is not None:
            calls[1]()
        stage = "user"
        if plan["credentials"] is not None:
            _become(**plan["credentials"])  # before the next step, which it would undo
        stage = "parent"
        if plan["parent"] is not None and calls is not None:
            calls[0](_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != plan["parent"]:
                os._exit(127)
        stage = "privileges"
        if calls is not None:
            calls[0](_PR_SET_NO_NEW_PRIVS, 1)
        elif plan["credentials"] is not None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        stage = "descriptors"
        _inherit_only(plan["pass_fds"], report_fd)
        stage = "chdir"
        os.chdir(plan["cwd"])
        stage = "limits"
        if plan["address_space"]:
            resource.setrlimit(resource.RLIMIT_AS, (plan["address_space"], plan["address_space"]))
        stage = "signals"
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stage = "exec"
        os.execve(plan["path"], plan["argv"], plan["env"])  # noqa: S606  (there is no shell, on purpose)
    except OSError as error:
        os.write(report_fd, json.dumps([stage, error.errno, index]).encode("ascii"))
    os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
