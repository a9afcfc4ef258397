"""Loading the kernel's energy drivers in the guest, with or without synthetic counters below them."""

import contextlib
import ctypes
import errno
import os
from pathlib import Path

MODULES = Path("/run/modules")
OURS = "bayestuner_rapl"
DRIVERS = ("msr", "intel_rapl_common", "intel_rapl_msr", "rapl")
PACKAGE_W = (100.0, 80.0)
DRAM_W = (20.0, 10.0)

_FINIT_MODULE, _DELETE_MODULE = 313, 176  # system calls of x86-64
_libc = ctypes.CDLL(None, use_errno=True)


def load_module(name, words=""):
    """What insmod does."""
    fd = os.open(MODULES / f"{name}.ko", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.syscall(_FINIT_MODULE, fd, words.encode(), 0), name)
    finally:
        os.close(fd)


def unload_module(name):
    """What rmmod does; nothing where it isn't loaded."""
    with contextlib.suppress(FileNotFoundError):
        _checked(_libc.syscall(_DELETE_MODULE, name.encode(), os.O_NONBLOCK), name)


def _checked(status, name):
    number = ctypes.get_errno()
    if status and number != errno.EEXIST:
        raise OSError(number, os.strerror(number), name)


class Drivers(contextlib.AbstractContextManager):
    """The kernel's msr, powercap and perf drivers.

    With `words`, which are parameters of our module, over counters that it injects; without over whatever the emulated CPU answers.
    """

    def __init__(self, words=None):
        self._words = words

    def __enter__(self):
        if self._words is not None:
            load_module(OURS, self._words)
        for name in DRIVERS:
            load_module(name)
        return self

    def __exit__(self, *_):
        for name in (*reversed(DRIVERS), OURS):
            unload_module(name)

    def set(self, **parameters):
        """Change what is injected, at once."""
        for name, value in parameters.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            Path(f"/sys/module/{OURS}/parameters/{name}").write_text(text)


def set_cpu_online(cpu, online):
    """Take a CPU away from the running kernel, or give it back."""
    Path(f"/sys/devices/system/cpu/cpu{cpu}/online").write_text(str(int(online)))


@contextlib.contextmanager
def offline(*cpus):
    """These CPUs are gone inside."""
    try:
        for cpu in cpus:
            set_cpu_online(cpu, False)
        yield
    finally:
        for cpu in cpus:
            set_cpu_online(cpu, True)
