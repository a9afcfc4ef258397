"""Access to the cgroup file systems: all of it goes through `CgroupFiles`, so that tests can put a fake kernel in its place."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class CgroupFiles:
    """Cgroup files as the kernel shows them."""

    def read(self, path: Path) -> str:
        """The whole text of a file; OSError with its path."""
        return path.read_text(encoding="ascii", errors="surrogateescape")

    def write(self, path: Path, value: str) -> None:
        """Write `value` to an existing file with one write(2), as the kernel wants it; OSError names the path and the value."""
        try:
            from bayestuner._native import ffi, lib
            from bayestuner._native.status import check
        except ImportError:
            _write_without_extension(str(path), value)
            return
        data = value.encode("ascii")
        check(lib.bt_write_file(-1, ffi.new("char[]", os.fsencode(path)), data, len(data)), str(path), value)

    def make(self, path: Path) -> None:
        """Make a group."""
        path.mkdir(mode=0o755)

    def remove(self, path: Path) -> None:
        """Remove a group that holds no process and no group; the kernel removes its files with it."""
        path.rmdir()

    def attribute(self, path: Path, name: str) -> bytes | None:
        """An extended attribute; None where it isn't set or can't be read."""
        try:
            return os.getxattr(path, name)
        except OSError:
            return None


def _write_without_extension(path: str, value: str) -> None:
    """What the extension's `bt_write_file` does, with the same errors."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            written = os.write(fd, value.encode("ascii"))
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {value!r})", path) from None
    if written != len(value):
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (writing {value!r})", path)


def read_keyed(text: str) -> dict[str, int]:
    """Name -> number, from the ``name number`` lines of files like memory.events and cpu.stat; lines of another form are left out."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdecimal():
            found[name] = int(value)
    return found


def subtree(folder: Path) -> list[Path]:
    """`folder` and every group below it, leaves first; empty where it is gone."""
    if not folder.is_dir():
        return []
    return [Path(path) for path, _, _ in os.walk(folder, topdown=False)]


def swap_is_on(proc: Path) -> bool:
    """Whether this machine has any swap device or file switched on."""
    try:
        return len((proc / "swaps").read_text().splitlines()) > 1
    except OSError:
        return False


_MEANINGS = {
    errno.ENOSPC: "the cpuset has no CPU or no memory node (this has nothing to do with the disk)",
    errno.EBUSY: "the group or one next to it is in use",
    errno.EROFS: "the cgroup file system is mounted read-only, as in most containers",
    errno.EACCES: "no permission: this part of the cgroup tree isn't delegated to this user",
    errno.EPERM: "no permission: this part of the cgroup tree isn't delegated to this user",
    errno.ENODEV: "the group was removed by someone else",
    errno.ERANGE: "the kernel takes no such number (a CPU that doesn't exist?)",
    errno.EOPNOTSUPP: "the group is threaded or the controller isn't active in it",
}


def explain(error: OSError) -> str:
    """One line for people: the file, the kernel's words, and what that error number means where cgroups are concerned."""
    meaning = _MEANINGS.get(error.errno or 0)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}" + (f": {meaning}" if meaning else "")
