"""The one place that says how the compiled loops are compiled: entry points, which Python calls, and helpers, which only they call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import config

from bayestuner._core.caching import Cache
from bayestuner._core.linking import HelperCompiler, OptimisedHelperCompiler

# contract: fused multiply-add; reassoc, nsz, arcp: let sums over observations be vectorised. Never nnan or ninf (they delete
# tests for NaN), and none of them where a sum's order decides the sign of a pivot (cholesky.py).
FAST = {"contract", "reassoc", "nsz", "arcp"}
STRICT = {"contract"}

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*, fast: bool = False) -> Callable[[F], F]:
    """Compile a function on its first call, without the GIL, and keep its code on disk where there is a folder for that.

    Parameters
    ----------
    fast : bool
        Allow sums to be reordered (`FAST` instead of `STRICT`).
    """

    def decorate(function: F) -> F:
        dispatcher: Any = _njit(fast, no_cfunc_wrapper=True)(function)
        if not config.DISABLE_JIT:  # type: ignore[attr-defined] # set at run time
            dispatcher._cache = Cache(function)
        return cast("F", dispatcher)

    return decorate


def inlined(*, fast: bool = False, optimised: bool = False) -> Callable[[F], F]:
    """Compile a small helper into its callers; it has no cache of its own, and Python can't call it.

    Parameters
    ----------
    fast : bool
        As for `compiled`.
    optimised : bool
        Optimise it on its own, before it becomes part of a large caller.
    """
    compiler = OptimisedHelperCompiler if optimised else HelperCompiler
    return cast("Callable[[F], F]", _njit(fast, no_cfunc_wrapper=True, no_cpython_wrapper=True, pipeline_class=compiler))


def _njit(fast: bool, **options: Any) -> Any:
    return numba.njit(nogil=True, fastmath=FAST if fast else STRICT, error_model="numpy", **options)
