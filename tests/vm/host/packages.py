"""QEMU, a Debian kernel and its headers: downloaded by apt and unpacked below the user's cache folder. Nothing is installed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("qemu-system-x86", "busybox-static")
_RELEASE = re.compile(r"^\s*Depends: linux-image-(\d\S*)$", re.MULTILINE)


class NoGuest(Exception):
    """The guest can't be made here; the text says why."""


@dataclass(frozen=True)
class Unpacked:
    """A tree of unpacked packages: `root` stands for ``/``, `release` is the kernel's."""

    root: Path
    release: str

    @property
    def vmlinuz(self) -> Path:
        return self.root / f"boot/vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.root / f"lib/modules/{self.release}"

    @property
    def headers(self) -> Path:
        return self.root / f"usr/src/linux-headers-{self.release}"

    @property
    def busybox(self) -> Path:
        return next(path for path in (self.root / "bin/busybox", self.root / "usr/bin/busybox") if path.exists())

    @property
    def environment(self) -> dict[str, str]:
        """For programs of this tree: where their libraries are."""
        libraries = [str(self.root / folder) for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


def cache_folder() -> Path:
    """Where everything that is kept between calls lies."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bayestuner" / "guest"


@contextlib.contextmanager
def cache_to_ourselves() -> Iterator[None]:
    """Inside, no other call makes or changes anything in the cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unpacked() -> Unpacked:
    """The tree, downloaded and unpacked first where it isn't there yet; those of older kernels go then."""
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    if missing:
        raise NoGuest(f"the guest is made of Debian packages, but there is no {missing[0]} here")
    release = _newest_release()
    tree = Unpacked(cache_folder() / release / "root", release)
    if not tree.root.exists():
        _fetch(tree)
    return tree


def _newest_release() -> str:
    """The release that linux-image-amd64 stands for; where apt knows no packages yet, its lists are fetched first."""
    for attempt in ("as it is", "updated"):
        found = _RELEASE.search(_apt("apt-cache", "depends", "linux-image-amd64", check=False))
        if found:
            return found[1]
        if attempt == "as it is":
            _apt("apt-get", "update", "-qq")
    raise NoGuest("apt knows no package linux-image-amd64: the guest is a Debian kernel (the only one tried)")


def _fetch(tree: Unpacked) -> None:
    print(f"fetching QEMU and Linux {tree.release} into {tree.root.parent} (once)", flush=True)
    headers = f"linux-headers-{tree.release}"
    parts = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", _apt("apt-cache", "depends", headers))
    kbuild = [name for name in parts if name.startswith("linux-kbuild")]
    planned = _apt("apt-get", "install", "--simulate", "-q", "--no-install-recommends", *TOOLS, *kbuild)
    lacking = re.findall(r"^Inst (\S+)", planned, re.MULTILINE)  # these and the libraries that they need and this machine lacks
    wanted = dict.fromkeys([*TOOLS, *lacking, *parts, headers, f"linux-image-{tree.release}"])
    shutil.rmtree(tree.root.parent, ignore_errors=True)
    debs, work = tree.root.parent / "debs", tree.root.parent / "unpacking"
    debs.mkdir(parents=True)
    _apt("apt-get", "download", "-qq", *wanted, cwd=debs)
    for deb in sorted(debs.iterdir()):
        subprocess.run(["dpkg", "-x", deb, work], check=True)
    shutil.rmtree(debs)
    work.rename(tree.root)
    for other in cache_folder().glob("*/root"):
        if other != tree.root:
            shutil.rmtree(other.parent)


def _apt(*command: str, check: bool = True, cwd: Path | None = None) -> str:
    plain = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain, cwd=cwd)
    if check and done.returncode:
        raise NoGuest(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
