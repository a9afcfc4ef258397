"""Defines `ffi`, from which setup.py builds bayestuner._native._ffi."""

import os
import platform
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCES = sorted(p.name for p in HERE.glob("bt_*.c"))

# What distributions build their own programs with; the macro is undefined first, since some compilers define it themselves.
HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
if platform.machine() in ("x86_64", "aarch64"):
    HARDENED.append("-fstack-clash-protection")
if platform.machine() == "x86_64":
    HARDENED.append("-fcf-protection")

ffi = FFI()
ffi.cdef((HERE / "bt.cdef.h").read_text())
ffi.set_source(
    "bayestuner._native._ffi",
    '#include <stdint.h>\n#include <sys/types.h>\n#include "bt.cdef.h"\n',
    sources=[os.path.relpath(HERE / name, HERE.parent) for name in SOURCES],
    include_dirs=[os.path.relpath(HERE, HERE.parent)],
    depends=[os.path.relpath(p, HERE.parent) for p in HERE.glob("*.h")],
    extra_compile_args=["-std=gnu11", "-Wall", "-Wextra", "-O2", "-fvisibility=hidden", *HARDENED],
    extra_link_args=["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"],
)
