"""The key ``user`` of the [job] section: running a job as another user than the one who runs BayesTuner."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from bayestuner.measure.cgroup.isolation import Credentials


def user_problem(user: str) -> str | None:
    """Why a job can't be run as this user; None where it can."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return f"there is no user {user!r} on this machine; name one that `getent passwd` lists"
    if os.geteuid() not in (0, entry.pw_uid):
        return f"only root may start a job as {user!r}; run BayesTuner as root, or leave the key out to run the job as yourself"
    return None


def credentials_of(user: str | None) -> Credentials | None:
    """The credentials of the user that a job file names; None where it names none, or the one who runs BayesTuner.

    Raises
    ------
    KeyError
        This machine has no such user.
    """
    if user is None:
        return None
    entry = pwd.getpwnam(user)
    if entry.pw_uid == os.geteuid():
        return None
    return Credentials(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


def access_problem(path: Path, user: str) -> str | None:
    """Why this user can't enter a folder or execute a program; None where nothing speaks against it.

    The permission bits of every folder on the way to `path` are looked at, also of those on the way to what symbolic links point to. A file
    with an access control list (ACL) is taken to be accessible: starting the job will show whether it is.
    """
    who = credentials_of(user)
    if who is None or who.uid == 0:
        return None
    target = Path(os.path.realpath(path))
    for step in [*reversed(path.absolute().parents), *reversed(target.parents), target]:
        if not _may_execute(step, who):
            what = "can't be entered" if step.is_dir() else "can't be executed"
            return f"{step}, on the way to {path}, {what} by the user {user!r}; give it the permission, or use what lies elsewhere"
    return None


def _may_execute(path: Path, who: Credentials) -> bool:
    found = path.stat()
    if any("posix_acl" in name for name in os.listxattr(path)):
        return True
    if found.st_uid == who.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid in (who.gid, *who.groups) else stat.S_IXOTH))


def give_pipes_to(descriptors: Iterable[int], who: Credentials) -> None:
    """Make the job's user the owner of its pipes.

    The job could use the inherited descriptors anyway, but a program that opens ``/dev/stdout`` or ``/proc/self/fd/N`` needs permission.
    """
    for fd in descriptors:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            with contextlib.suppress(OSError):
                os.fchown(fd, who.uid, who.gid)
