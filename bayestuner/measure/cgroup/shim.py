"""Becomes the job: joins its groups, sets its CPUs, then exec. Run as ``python -I -S shim.py PLAN_FD REPORT_FD``, stdlib only.

Stands in for bt_spawn where the extension was not built and does the same in the same order; what fails is written to the
report pipe as ``[stage, errno, index]``.
"""

import json
import os
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def _prctl(option: int, value: int) -> None:
    """One prctl; without ctypes (a Python built without libffi) there is none, and the job starts without this safeguard."""
    try:
        import ctypes
    except ImportError:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


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
    """Carry out the plan; only comes back by exiting."""
    stage, index = "shim", -1
    try:
        with os.fdopen(plan_fd, encoding="ascii") as file:
            plan = json.load(file)
        stage = "join"
        for index, fd in enumerate(plan["join_fds"]):  # noqa: B007  (index is for the report)
            os.write(fd, b"0")
        stage, index = "affinity", -1
        if plan["cpus"] is not None:
            os.sched_setaffinity(0, plan["cpus"])
        stage = "session"
        os.setsid()
        stage = "parent"
        if plan["parent"] is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != plan["parent"]:
                os._exit(127)
        stage = "privileges"
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        stage = "descriptors"
        _inherit_only(plan["pass_fds"], report_fd)
        stage = "chdir"
        os.chdir(plan["cwd"])
        stage = "limits"
        if plan["address_space"]:
            import resource

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
