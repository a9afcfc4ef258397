"""Who holds the machine: what a holder says of itself, and what others may know of it without being able to hold anything.

A holder of the machine's lock writes a file that names it, beside the lock; of root's, which everyone may read, another user sees that root
measures. Ordinary users see each other by a socket with a name in the abstract name space, which one process at a time can have: the kernel
says whose it is, and takes the name back however that process dies.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from bayestuner.errors import NotPrivate
from bayestuner.files.private import PrivateFolder
from bayestuner.measure.cgroup.names import process_start

FILE_NAME = "machine.holder"
SOCKET_NAME = "\0bayestuner-machine"
_LIMIT_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Holder:
    """What a holder wrote of itself."""

    pid: int
    start_ticks: int
    study: str

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return process_start(self.pid) == self.start_ticks

    def __str__(self) -> str:
        return f"another BayesTuner (process {self.pid}, study {self.study})"


def sign(folder: PrivateFolder, study: str) -> None:
    """Write beside the lock who holds it; everyone who may enter the folder may read it."""
    pid = os.getpid()
    words = {"pid": pid, "start_ticks": process_start(pid) or 0, "study": study}
    folder.replace(FILE_NAME, json.dumps(words).encode(), mode=0o644, sync=False)


def signed(folder: PrivateFolder) -> Holder | None:
    """What the latest holder wrote; None where it wrote nothing or nothing that can be read."""
    try:
        said = json.loads(folder.read(FILE_NAME, _LIMIT_BYTES))
        return Holder(int(said["pid"]), int(said["start_ticks"]), str(said["study"]))
    except (OSError, NotPrivate, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def take_name() -> socket.socket | None:
    """The socket by which ordinary users see each other, with its name taken; None where another process has it."""
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        taken.bind(SOCKET_NAME)
        taken.listen(4096)  # nobody accepts; each who asks stays in the queue
    except OSError:
        taken.close()
        return None
    return taken


def holder_of_name() -> str | None:
    """Which user's process has the name, in words, as the kernel says; None where nobody has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(SOCKET_NAME)
        except BlockingIOError:  # many ask at once
            return "another user's BayesTuner"
        except OSError:
            return None
        pid, uid, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    name = str(uid)
    with suppress(KeyError):
        name = pwd.getpwuid(uid).pw_name
    return f"a BayesTuner of user {name} (process {pid})"
