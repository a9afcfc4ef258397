"""``/dev/cpu/N/msr`` as a file system of our own (FUSE), for what a plain file can't give reads: registers numbered one apart, counters
that move by the clock, EIO, a device that goes away. The way through the kernel is real, the energy is synthetic.

The server mounts in a mount namespace of its own, reached through ``/proc/PID/root``: when it ends, however it ends, nothing is left.
Needs root and /dev/fuse. No libfuse: the few messages of the protocol (include/uapi/linux/fuse.h) that one file needs are spoken here.
"""

import ctypes
import errno
import json
import os
import select
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 0x40000
LOOKUPLESS = {"init": 26, "getattr": 3, "open": 14, "read": 15, "release": 18, "flush": 25, "statfs": 17}
NO_REPLY = {2, 36, 42}  # forget, interrupt, batch_forget
DIRECT_IO = 1  # the offset of a pread arrives as it is, and nothing is cached
IN_HEADER, ATTR = struct.Struct("<IIQ"), struct.Struct("<QQQQQQIIIIIIIIII")
W32 = 1 << 32


def why_not():
    """Why this can't be had here, or None."""
    if os.geteuid() != 0:
        return "needs root to mount"
    return None if os.access("/dev/fuse", os.R_OK | os.W_OK) else "needs /dev/fuse"


class FuseMsr:
    """The ``msr`` devices of some CPUs below `folder`; a context manager. `devcpu` stands for /dev/cpu.

    ``device[cpu, register] = value`` sets a register; `move` lets one count by the clock, `fail` makes reading it an error.
    """

    def __init__(self, folder, registers):
        self.paths = {cpu: folder / "dev/cpu" / str(cpu) / "msr" for cpu in registers}
        for path in self.paths.values():
            path.parent.mkdir(parents=True)
            path.touch()
        command = [sys.executable, __file__, *map(str, self.paths.values())]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self._server.stdout.readline()
        if answer != "ready\n":
            self.close()
            raise OSError(errno.EIO, f"the file system said {answer!r}")
        self.devcpu = f"/proc/{self._server.pid}/root{folder}/dev/cpu"
        for cpu, values in registers.items():
            for register, value in values.items():
                self[cpu, register] = value

    def _tell(self, cpu, register, **entry):
        self._server.stdin.write(json.dumps([str(self.paths[cpu]), register, entry]) + "\n")
        self._server.stdin.flush()
        assert self._server.stdout.readline() == "done\n"

    def __setitem__(self, place, value):
        self._tell(*place, value=value, per_s=0.0, errno=0)

    def move(self, cpu, register, *, start, per_s):
        """Counts `per_s` a second from `start`, modulo 2^32."""
        self._tell(cpu, register, value=start, per_s=per_s, errno=0)

    def freeze(self, cpu, register):
        """The register keeps what it has now."""
        self._tell(cpu, register, frozen=True)

    def fail(self, cpu, register, number):
        """Reading the register gives this errno from now on."""
        self._tell(cpu, register, value=0, per_s=0.0, errno=number)

    def disappear(self):
        """The device goes away, as when its driver is removed: descriptors stay open and every read fails."""
        self._server.kill()
        self._server.wait()

    def close(self):
        self.disappear()
        self._server.stdin.close()
        self._server.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# -- the server ---------------------------------------------------------------------------------------------------------


class Device:
    """One mounted file and its registers."""

    def __init__(self, path, libc):
        self.registers = {}
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0".encode()
        if libc.mount(b"bayestuner-msr", os.fsencode(path), b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)

    def read(self, register, size):
        """Bytes of a register, or an errno."""
        entry = self.registers.get(register)
        if size != 8:
            return errno.EINVAL
        if entry is None or entry["errno"]:
            return errno.EIO if entry is None else entry["errno"]
        return struct.pack("<Q", self.value(register))

    def value(self, register):
        """What a register holds now."""
        entry = self.registers[register]
        moved = int(entry["per_s"] * (time.monotonic_ns() - entry["since_ns"]) / 1e9)
        return (entry["value"] + moved) % W32 if entry["per_s"] else entry["value"]

    def serve_one(self):
        """Answer one request; False when nothing is mounted any more."""
        try:
            request = os.read(self.fd, 1 << 18)
        except OSError as error:
            return error.errno != errno.ENODEV
        _, code, unique = IN_HEADER.unpack_from(request)
        answer = self.answer(code, request[40:])
        if answer is not None:
            failed = isinstance(answer, int)
            body = b"" if failed else answer
            os.write(self.fd, struct.pack("<IiQ", 16 + len(body), -answer if failed else 0, unique) + body)
        return True

    def answer(self, code, body):
        """Bytes, an errno, or None for a message that wants no answer."""
        if code in NO_REPLY:
            return None
        name = next((name for name, number in LOOKUPLESS.items() if number == code), None)
        if name == "init":
            return struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 1, 1, 0, 0, *[0] * 7)
        if name == "getattr":
            return struct.pack("<QII", 0, 0, 0) + ATTR.pack(1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFREG | 0o600, 1, 0, 0, 0, 4096, 0)
        if name == "open":
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if name == "read":
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.read(offset, size)
        if name == "statfs":
            return bytes(80)
        return b"" if name else errno.ENOSYS


def serve(paths):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "mount namespace")
    devices = {path: Device(path, libc) for path in paths}
    by_fd = {device.fd: device for device in devices.values()}
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([sys.stdin, *by_fd], [], [])
        for fd in readable:
            if fd is not sys.stdin:
                if not by_fd[fd].serve_one():
                    return
            elif line := sys.stdin.readline():
                path, register, entry = json.loads(line)
                if "frozen" in entry:
                    entry = {"value": devices[path].value(register), "per_s": 0.0, "errno": 0}
                devices[path].registers[register] = entry | {"since_ns": time.monotonic_ns()}
                print("done", flush=True)
            else:  # the test has ended
                return


if __name__ == "__main__":
    serve([str(Path(path)) for path in sys.argv[1:]])
