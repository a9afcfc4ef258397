"""Where machine code is kept, when it is out of date, and how it is loaded without setting up the compiler.

Numba's own cache looks only at the file of the function that it caches, so after a change to a callee in another file it would load old
code. Here the stamp of every cached function is a hash over all files of `_core`: any change to any of them compiles everything again, and
an upgraded installation never loads its predecessor's code.

What is kept are pickles and machine code: whoever can put a file there runs code as this user. Hence the folder is used only where nobody
else could have written it (`bayestuner.files`), and each file is signed with a secret of this user: it is read once, its signature checked,
and the very bytes that were checked are unpickled. Where the rule fails, everything is compiled in memory and one sentence says so.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import logging
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

from bayestuner.errors import NotPrivate
from bayestuner.files.places import CACHE_VARIABLE, cache_folder
from bayestuner.files.private import PrivateFolder

NAME = "compiled"
_SIGNATURE_BYTES = 32


@functools.cache
def source_stamp() -> str:
    """Hash over the names and texts of all files of `_core`."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _folder() -> tuple[PrivateFolder, bytes] | None:
    """The folder of this version's code, held open, and the secret that its files are signed with; None where there is none to believe."""
    try:
        folder = PrivateFolder.open(cache_folder(NAME) / source_stamp()[:16], make=True)
        return folder, folder.secret()
    except NotPrivate as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename or cache_folder(NAME)}: {error.strerror}"
    if multiprocessing.parent_process() is None:  # the processes of a comparison leave it to the one that started them
        logging.getLogger("bayestuner").warning(
            "the compiled code of the engine can't be kept on disk, so every process compiles it anew (15 s): %s; or set %s to a folder of "
            "your own",
            reason,
            CACHE_VARIABLE,
        )
    return None


class _Files:
    """The files of one function, one for each signature: in the place of numba's index and data files, which it unpickles unseen."""

    def __init__(self, base: str) -> None:
        self._base = base

    def load(self, key: Any) -> Any:
        """What was kept; None where that is nothing, or nothing to believe."""
        if (opened := _folder()) is None:
            return None
        folder, secret = opened
        name = self._name(key)
        try:
            signed = folder.read(name)
        except (OSError, NotPrivate):
            return None
        signature, code = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, _sign(secret, name, code)):
            return None
        return pickle.loads(code)  # noqa: S301 - the bytes whose signature was checked

    def save(self, key: Any, data: Any) -> None:
        """Keep it; a folder that is full or can't be written only costs time."""
        if (opened := _folder()) is None:
            return
        folder, secret = opened
        name, code = self._name(key), dumps(data)
        try:
            folder.replace(name, _sign(secret, name, code) + code, sync=False)  # what a power loss spoils has no valid signature
        except OSError as error:
            logging.getLogger("bayestuner").debug("compiled code can't be kept: %s", error)

    def _name(self, key: Any) -> str:
        return f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.code"


def _sign(secret: bytes, name: str, code: bytes) -> bytes:
    """The signature of a file: over its name, everything that decides whether its code fits, and the code."""
    about = "\0".join((source_stamp(), numba.__version__, llvmlite.__version__, name, ""))
    return hmac.digest(secret, about.encode() + code, "sha256")


class _Locator:
    """What numba asks for the place and the age of code; the place is `_folder`'s business, so nothing is made or checked for it here."""

    def __init__(self, line: int) -> None:
        self._line = line

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        del py_file
        return cls(py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return NAME

    def get_source_stamp(self) -> str:
        return source_stamp()

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        pass


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # type: ignore[list-item] # noqa: RUF012 - numba declares it so


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

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._cache_file = _Files(self._impl.filename_base)  # type: ignore[assignment] # of the same two methods

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load machine code; None where none fits.

        Numba would set up its whole compiler first, with scipy.linalg and a pass of LLVM over its runtime: 50 MB and a quarter of a
        second. Machine code needs only the addresses of that runtime; where something has to be compiled, numba sets itself up then.
        """
        if not _know_runtime():
            return super().load_overload(sig, target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)
