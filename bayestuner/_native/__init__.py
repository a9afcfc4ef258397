"""The cffi binding: `ffi` and `lib`, and nothing else. Importing it fails with ImportError where the extension was not built."""

from bayestuner._native._ffi import ffi, lib

__all__ = ["ffi", "lib"]
