"""Builds the optional C extension; everything else stands in pyproject.toml.

Where the extension can't be built the install goes on without it, and `bayestuner doctor` says what is lost. Set
BAYESTUNER_REQUIRE_EXTENSION=1 to make a failed build an error.
"""

import os
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent


class OptionalBuildExt(build_ext):
    """Marks every extension as optional unless the environment requires it."""

    def build_extension(self, ext):
        ext.optional = os.environ.get("BAYESTUNER_REQUIRE_EXTENSION") != "1"
        super().build_extension(ext)


setup(
    cffi_modules=["csrc/build_ffi.py:ffi"],
    cmdclass={"build_ext": OptionalBuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
