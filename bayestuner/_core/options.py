"""The one place that says how the compiled loops are compiled and where their machine code is kept.

Numba's own cache looks only at the file of the function it caches, so a changed callee in another file brings back old code.
Here the stamp of every cached function is a hash over all of `_core`, so any change to any of these files compiles anew, and
an upgraded install never meets its predecessor's code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserWideCacheLocator

# contract: fused multiply-add; reassoc, nsz, arcp: let sums over observations be vectorised. Never nnan or ninf (they delete
# tests for NaN), and none of them where a sum's order decides the sign of a pivot (cholesky.py).
FAST = {"contract", "reassoc", "nsz", "arcp"}
STRICT = {"contract"}

F = TypeVar("F", bound=Callable[..., Any])


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


class _Locator(UserWideCacheLocator):
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


class _Cache(FunctionCache):
    _impl_class = _Impl


def compiled(*, fast: bool = False) -> Callable[[F], F]:
    """Compile a function on its first call, without the GIL, and keep its code on disk where a folder can be written.

    Parameters
    ----------
    fast : bool
        Allow sums to be reordered (`FAST` instead of `STRICT`).
    """

    def decorate(function: F) -> F:
        dispatcher: Any = inlined(fast=fast)(function)
        if not config.DISABLE_JIT:  # type: ignore[attr-defined] # set at run time
            with contextlib.suppress(RuntimeError, OSError):  # no folder can be written: compile in every process
                dispatcher._cache = _Cache(function)
        return cast("F", dispatcher)

    return decorate


def inlined(*, fast: bool = False, bare: bool = False) -> Callable[[F], F]:
    """Compile a small helper into its callers; it has no cache of its own.

    Parameters
    ----------
    fast : bool
        As for `compiled`.
    bare : bool
        Leave out what lets Python call it, an eighth of its compile time.
    """

    def decorate(function: F) -> F:
        wrappers: dict[str, Any] = {"no_cpython_wrapper": bare, "no_cfunc_wrapper": bare}
        made: Any = numba.njit(nogil=True, fastmath=FAST if fast else STRICT, error_model="numpy", **wrappers)(function)
        return cast("F", made)

    return decorate
