"""The C files compile without a single warning, with each compiler that is here."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", "-O2"]


@pytest.mark.parametrize("source", sorted(path.name for path in CSRC.glob("bt_*.c")))
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler, source, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    command = [compiler, *FLAGS, "-I", str(CSRC), "-c", str(CSRC / source), "-o", str(tmp_path / "out.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def segments_and_tags(elf):
    """Types and flags of the segments of a 64-bit little-endian ELF file, and the entries of its dynamic section."""
    assert elf[:6] == b"\x7fELF\x02\x01"
    start, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    segments, tags = {}, {}
    for n in range(count):
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", elf, start + n * size)
        segments[kind] = flags
        if kind == 2:  # PT_DYNAMIC
            tags = dict(struct.iter_unpack("<qQ", elf[offset : offset + length]))
    return segments, tags


def test_the_built_extension_is_hardened():
    """Read-only after relocation, all symbols bound at once, no executable stack, functions with buffers guarded."""
    native = pytest.importorskip("bayestuner._native._ffi", reason="the C extension is not built")
    elf = Path(native.__file__).read_bytes()
    segments, tags = segments_and_tags(elf)
    assert 0x6474E552 in segments, "no PT_GNU_RELRO"
    assert segments[0x6474E551] & 1 == 0, "PT_GNU_STACK is executable"
    assert tags.get(30, 0) & 8 or tags.get(0x6FFFFFFB, 0) & 1, "neither BIND_NOW nor NOW"
    assert b"__stack_chk_fail" in elf
