"""What is made of the unpacked kernel: an uncompressed image, our module, and the first root file system."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import subprocess
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from packages import NoGuest, Unpacked

BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
LATE_MODULES = ("msr", "intel_rapl_msr", "rapl")
OURS = "bayestuner_rapl"

_PACKINGS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor().decompress(data)),
    (b"\x1f\x8b\x08", lambda data: zlib.decompressobj(31).decompress(data)),
)


def bootable(vmlinuz: Path, target: Path) -> Path:
    """The kernel without its packing, which an emulated CPU takes ten seconds to undo; `vmlinuz` itself where the packing is unknown."""
    if target.exists():
        return target
    data = vmlinuz.read_bytes()
    for magic, unpack in _PACKINGS:
        for found in re.finditer(re.escape(magic), data):
            try:
                image = unpack(data[found.start() :])
            except (lzma.LZMAError, zlib.error):
                continue  # the magic by chance
            if image.startswith(b"\x7fELF"):
                target.write_bytes(image)
                return target
    return vmlinuz


def build_module(tree: Unpacked, source: Path, work: Path) -> Path:
    """Compile our module against the unpacked headers."""
    missing = [name for name in ("make", "gcc") if shutil.which(name) is None]
    if missing:
        raise NoGuest(f"{missing[0]} is needed to compile the guest's test module")
    work.mkdir(parents=True, exist_ok=True)
    for name in ("Makefile", f"{OURS}.c"):
        shutil.copyfile(source / name, work / name)
    common = tree.root / "usr/src" / tree.headers.name.replace("-amd64", "-common")
    (tree.headers / "Makefile").write_text(f"include {common}/Makefile\n")  # names the folder that it would be installed in
    compiler = [] if shutil.which("gcc-12") else ["CC=gcc"]
    command = ["make", "-s", "-C", str(tree.headers), f"M={work}", *compiler, "modules"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=tree.environment)
    if done.returncode:
        raise NoGuest(f"the guest's test module can't be compiled:\n{done.stdout}{done.stderr}")
    return work / f"{OURS}.ko"


class Modules:
    """The kernel's loadable modules by name, with what each needs."""

    def __init__(self, folder: Path) -> None:
        self._files = {_plain(path.name.split(".ko")[0]): path for path in folder.rglob("*.ko*")}

    def in_order(self, names: Iterable[str]) -> dict[str, bytes]:
        """The named modules that aren't built in, and what they need, each after what it needs."""
        order: dict[str, bytes] = {}

        def add(name: str) -> None:
            path = self._files.get(_plain(name))
            if path is None or _plain(name) in order:
                return
            data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
            found = re.search(rb"\0?depends=([^\0]*)\0", data)
            for needed in found[1].decode().split(",") if found else ():
                add(needed)
            order[_plain(name)] = data

        for name in names:
            add(name)
        return order


def _plain(name: str) -> str:
    return name.replace("-", "_")


def write_initrd(target: Path, tree: Unpacked, ours: Path, init: Path) -> None:
    """The first root: busybox, ``/init``, modules to load at once in ``/boot-modules`` (numbered) and later ones in ``/modules``."""
    available = Modules(tree.modules)
    early = available.in_order(BOOT_MODULES)
    late = {name: data for name, data in available.in_order(LATE_MODULES).items() if name not in early} | {OURS: ours.read_bytes()}
    archive = Archive()
    for folder in ("bin", "dev", "proc", "mnt", "boot-modules", "modules"):
        archive.folder(folder)
    archive.file("bin/busybox", tree.busybox.read_bytes())
    archive.link("bin/sh", "busybox")
    for number, (name, data) in enumerate(early.items()):
        archive.file(f"boot-modules/{number:02}-{name}.ko", data)
    for name, data in late.items():
        archive.file(f"modules/{name}.ko", data)
    archive.file("init", init.read_bytes())
    target.write_bytes(archive.finished())


class Archive:
    """A cpio archive in the "newc" form that Linux unpacks at boot."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._entries = 0

    def _add(self, name: str, mode: int, data: bytes = b"") -> None:
        self._entries += 1
        path = os.fsencode(name) + b"\0"
        fields = (self._entries, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        self._put(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._data += data + bytes(-len(data) % 4)

    def folder(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes) -> None:
        self._add(name, stat.S_IFREG | 0o755, data)

    def link(self, name: str, target: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def finished(self) -> bytes:
        self._add("TRAILER!!!", 0)
        return bytes(self._data)
