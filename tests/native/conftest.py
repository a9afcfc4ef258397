"""Set-up of the tests of the C extension."""

import pytest


@pytest.fixture(scope="session")
def binding():
    """(ffi, lib), or a skip where the extension was not built."""
    module = pytest.importorskip("bayestuner._native", reason="the C extension is not built", exc_type=ImportError)
    return module.ffi, module.lib
