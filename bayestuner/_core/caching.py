"""Where machine code is kept, when it is out of date, and how it is loaded without setting up the compiler.

Numba's own cache looks only at the file of the function that it caches, so after a change to a callee in another file it would load old
code. Here the stamp of every cached function is a hash over all files of `_core`: any change to any of them compiles everything again, and
an upgraded installation never loads its predecessor's code.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import binding
from numba.core import caching
from numba.core.caching import CompileResultCacheImpl, FunctionCache

_UserWideCacheLocator: Any = getattr(caching, "UserWideCacheLocator", None) or caching._UserWideCacheLocator  # type: ignore[attr-defined] # before numba 0.62


@functools.cache
def source_stamp() -> str:
    """Hash over the names and texts of all files of `_core`."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cache_folder() -> Path:
    """Folder of the compiled code: BAYESTUNER_CACHE, else the user's cache folder."""
    base = os.environ.get("BAYESTUNER_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = "compiled" if os.environ.get("BAYESTUNER_CACHE") else "bayestuner/compiled"
    return Path(base) / name / source_stamp()[:16]


class _Locator(_UserWideCacheLocator):  # type: ignore[misc] # of either name
    """Puts machine code in `cache_folder` and stamps it with `source_stamp`."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_func = py_func
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._cache_path = str(cache_folder())

    def get_source_stamp(self) -> str:
        return source_stamp()


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - as numba declares it


@functools.cache
def _know_runtime() -> bool:
    """Tell LLVM the addresses of numba's runtime, which loaded code calls; False where this version of numba keeps them elsewhere."""
    try:
        from numba.core.runtime import _nrt_python  # type: ignore[attr-defined] # a C extension

        helpers = _nrt_python.c_helpers.items()
    except (ImportError, AttributeError):
        return False
    for name, address in helpers:
        binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
    return True


class Cache(FunctionCache):
    """The cache of one compiled function."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load machine code; None where none fits.

        Numba would set up its whole compiler first, with scipy.linalg and a pass of LLVM over its runtime: 50 MB and a quarter of a
        second. Machine code needs only the addresses of that runtime; where something has to be compiled, numba sets itself up then.
        """
        if not _know_runtime():
            return super().load_overload(sig, target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)
