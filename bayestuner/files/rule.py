"""The rule for what is believed, and the walk that holds it.

Every folder from ``/`` on belongs to root or this user and nobody else may write it (a folder with the
sticky bit, as ``/tmp`` is, may lead on, but not be the one); the folder itself is no link; a file in it is a regular file with one link, of
root or this user, that nobody else may write. A path is walked one name at a time with each folder held open, so that nothing can be
swapped between the check and the use.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path

from bayestuner.errors import NotPrivate
from bayestuner.files.replacing import sync_folder

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40


def walk(path: str, *, make: bool, trust_sudo_caller: bool, as_far_as_it_is: bool = False) -> tuple[str, int]:
    """The real path of a folder and its descriptor, after each step on the way there was checked; see `PrivateFolder.open`.

    With `as_far_as_it_is`, where a part of the path is missing: the folder in which it would be made.
    """
    leading = believed_owners() | ({_sudo_caller()} if trust_sudo_caller else set())
    left = _names_to_walk(path if path.startswith("/") else f"{Path.cwd()}/{path}")
    real: list[str] = []
    links = 0
    here = os.open("/", _STEP)
    try:
        while True:
            where = "/" + "/".join(real)
            status = os.fstat(here)
            check_private(status, where, leading if left else believed_owners(), leads_on=bool(left))
            if not left or (as_far_as_it_is and not _is_there(left[-1], here)):
                return where, os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
            name = left.pop()
            target = None if name == ".." else _link(name, here, f"{where.rstrip('/')}/{name}", leading, last=not left)
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                left += _names_to_walk(target)
                step, real = ("/", []) if target.startswith("/") else (".", real)
            else:
                step, real = name, real[:-1] if name == ".." else [*real, name]
                if make and name != "..":
                    _make(name, here)
            further = os.open(step, _STEP, dir_fd=here)
            os.close(here)
            here = further
    finally:
        os.close(here)


def _is_there(name: str, here: int) -> bool:
    try:
        os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _names_to_walk(path: str) -> list[str]:
    """The names of a path, the first last. ``..`` stays: after a link it isn't the folder before it in the text."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _link(name: str, here: int, where: str, owners: set[int], *, last: bool) -> str | None:
    """What a link says, None where the name is no link; a link of a stranger, or in the place of the folder itself, is not followed."""
    try:
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(status.st_mode):
        return None
    if last:
        raise NotPrivate(f"{where} is a link, not a folder of this user, so what it leads to can't be believed")
    if status.st_uid not in owners:
        raise NotPrivate(f"{where} is a link of {_user(status.st_uid)}, so what it leads to can't be believed")
    return os.readlink(name, dir_fd=here)


def _make(name: str, here: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=here)  # the umask can only take from that
    except FileExistsError:
        return
    sync_folder(here)


def check_private(status: os.stat_result, where: str, owners: set[int], *, leads_on: bool = False) -> None:
    """Raise `NotPrivate` where a folder or file belongs to somebody else or may be written by others.

    A folder that only leads on may be written by others where it has the sticky bit: they can't move what is not theirs.
    """
    if status.st_uid not in owners:
        what = "is not a folder of this user but belongs to" if stat.S_ISDIR(status.st_mode) else "belongs to"
        raise NotPrivate(f"{where} {what} {_user(status.st_uid)}, so what it holds can't be believed")
    if status.st_mode & _OTHERS_WRITE and not (leads_on and status.st_mode & stat.S_ISVTX):
        raise NotPrivate(f"{where} can be written by others, so what it holds can't be believed: run chmod go-w {where}")


def check_regular(status: os.stat_result, where: str) -> None:
    """Raise `NotPrivate` unless it is a regular file with one link."""
    if not stat.S_ISREG(status.st_mode):
        raise NotPrivate(f"{where} is {kind_of(status)}, no regular file")
    if status.st_nlink > 1:
        raise NotPrivate(f"{where} is a second name of another file (a hard link)")


def open_regular(name: str, flags: int, dir_fd: int | None, where: Path) -> int:
    """Open without following a link and without waiting for a pipe; nothing is written or emptied before the check."""
    try:
        fd = os.open(name, (flags & ~os.O_TRUNC) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            check_regular(os.stat(name, dir_fd=dir_fd, follow_symlinks=False), str(where))
        raise
    try:
        check_regular(os.fstat(fd), str(where))
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def believed_owners() -> set[int]:
    """The users whose files are believed: root and this one."""
    return {0, os.geteuid()}


def _sudo_caller() -> int:
    """The user who became root by sudo; root where nobody did."""
    said = os.environ.get("SUDO_UID", "")
    return int(said) if os.geteuid() == 0 and said.isascii() and said.isdecimal() and len(said) < 11 else 0


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def kind_of(status: os.stat_result) -> str:
    """What a path that is no regular file is, in words."""
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")
