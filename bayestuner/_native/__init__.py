"""The cffi binding: `ffi` and `lib`, and nothing else, so that the C code has one door.

Importing it fails with ImportError where the extension was not built.
"""

from bayestuner._native._ffi import ffi, lib

__all__ = ["ffi", "lib"]
