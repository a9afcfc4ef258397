"""How helpers are compiled: only to LLVM code, which is linked into their callers.

Numba would optimise every function together with everything it calls, and make machine code of it, although only the entry points, into
which LLVM inlines the helpers, are ever run. Leaving that out for the helpers shortens compiling by a fifth.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


class _Unloaded:
    """A code generator for a library that is never loaded, so that no environment is set in its memory."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, env_name: str, env: Any) -> None:
        pass


class _HelperLibrary(JITCodeLibrary):
    """LLVM code to be linked into other libraries, without machine code of its own."""

    optimised = False

    @property
    def codegen(self) -> Any:
        return _Unloaded(self._codegen)

    def _optimize_final_module(self) -> None:
        if self.optimised:
            super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is no pointer: 0."""
        self._ensure_finalized()
        return 0


class _OptimisedLibrary(_HelperLibrary):
    optimised = True


class _Lowering(NativeLowering):
    library = _HelperLibrary

    def run_pass(self, state: Any) -> bool:
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _HelperLowering(_Lowering):
    _name = "bayestuner_helper_lowering"  # type: ignore[assignment] # as every pass of numba


@register_pass(mutates_CFG=True, analysis_only=False)
class _OptimisedLowering(_Lowering):
    _name = "bayestuner_optimised_helper_lowering"  # type: ignore[assignment]
    library = _OptimisedLibrary


class HelperCompiler(CompilerBase):
    """Numba's pipeline with another last step."""

    lowering: type[_Lowering] = _HelperLowering

    def define_pipelines(self) -> list[Any]:
        """The one pipeline."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [(self.lowering, text) if step is NativeLowering else (step, text) for step, text in manager.passes]
        manager._finalized = False
        manager.finalize()
        return [manager]


class OptimisedHelperCompiler(HelperCompiler):
    """As `HelperCompiler`, optimised before it is linked: for loops that come out slower when they are optimised within a large caller."""

    lowering = _OptimisedLowering
