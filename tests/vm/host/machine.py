"""One guest: an emulated server of two packages, with this machine's files, that runs one job and reports back."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packages import Unpacked

TIMEOUT_S = 900.0
LEFT_OUT = tuple(f"-pno:{plugin}" for plugin in ("cacheprovider", "hypothesispytest", "xdist", "benchmark"))
"""Plugins that pytest goes without in a guest, where importing hypothesis takes as long as booting."""

MARK = "bayestuner.guest"
"""On the guest's kernel command line, with the guest's name: how tests know where they run."""


@dataclass(frozen=True)
class Guest:
    """A machine and what runs on it.

    Attributes
    ----------
    cpu : str
        QEMU's ``-cpu``.
    pytest : tuple of str
        What pytest is given.
    kernel_words : tuple of str
        Further words on the kernel's command line.
    """

    name: str
    cpu: str
    pytest: tuple[str, ...]
    kernel_words: tuple[str, ...] = ()


def start(guest: Guest, tree: Unpacked, kernel: Path, initrd: Path, share: Path, job: str) -> subprocess.Popen[bytes]:
    """Boot `guest`; `job`, a shell script, leaves in `share` what it has to report.

    Beside that lie ``console``, ``qemu`` (QEMU's own errors) and, once the job has ended, its ``status``.
    """
    shutil.rmtree(share, ignore_errors=True)
    share.mkdir(parents=True)
    (share / "job.sh").write_text(job)
    command = command_line(guest, tree, kernel, initrd, share)
    with (share / "console").open("wb") as console, (share / "qemu").open("wb") as errors:
        return subprocess.Popen(command, env=tree.environment, stdin=subprocess.DEVNULL, stdout=console, stderr=errors)


def command_line(guest: Guest, tree: Unpacked, kernel: Path, initrd: Path, share: Path) -> list[str]:
    """Always TCG: a /dev/kvm that can be opened may still not work, and the tests are to run where there is none."""
    root = tree.root
    words = ["console=ttyS0", "quiet", "loglevel=2", "panic=-1", f"{MARK}={guest.name}", *guest.kernel_words]
    line = f"""
        {root}/usr/bin/qemu-system-x86_64 -L {root}/usr/share/qemu -L {root}/usr/share/seabios -L {root}/usr/lib/ipxe/qemu
        -nodefaults -no-user-config -display none -no-reboot -serial stdio -monitor none -machine q35 -accel tcg,thread=single
        -smp 4,sockets=2,cores=2,threads=1 -m 2G
        -object memory-backend-ram,id=m0,size=1G -numa node,nodeid=0,cpus=0-1,memdev=m0
        -object memory-backend-ram,id=m1,size=1G -numa node,nodeid=1,cpus=2-3,memdev=m1
        -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap -device virtio-9p-pci,fsdev=host,mount_tag=host
    """
    share_device = f"local,id=share,path={share},security_model=none"
    return [
        *shlex.split(line), "-fsdev", share_device, "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
        "-cpu", guest.cpu, "-kernel", str(kernel), "-initrd", str(initrd), "-append", " ".join(words),
    ]  # fmt: skip


def pytest_job(guest: Guest, checkout: Path, cache: Path, settings: dict[str, str], instead: Sequence[str] = ()) -> str:
    """The shell script that runs the guest's tests with the Python that runs this program; `instead`: other words for pytest."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in {"BAYESTUNER_CACHE": str(cache), **settings}.items())
    options = [
        *LEFT_OUT,
        "--color=no",
        "--basetemp=/run/tests",
        "--junitxml=/run/share/junit.xml",
        "--durations=10",
        *(instead or guest.pytest),
    ]
    return f"cd {shlex.quote(str(checkout))} || exit 70\n{exports}exec {shlex.join([sys.executable, '-m', 'pytest', *options])}\n"


def run_all(starts: Sequence[Callable[[], subprocess.Popen[bytes]]], at_once: int) -> None:
    """Boot guests and wait until they are down, `at_once` of them side by side; one that takes too long is stopped, on Ctrl-C all are."""
    waiting = list(starts)
    running: list[tuple[subprocess.Popen[bytes], float]] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append((waiting.pop(0)(), time.monotonic() + TIMEOUT_S))
            time.sleep(0.1)
            for process, deadline in running:
                if time.monotonic() > deadline:
                    process.kill()
            running = [(process, deadline) for process, deadline in running if process.poll() is None]
    finally:
        for process, _ in running:
            process.kill()
            process.wait()
