"""Set-up of the tests of energy meters."""

import sys
import tempfile
from pathlib import Path

import pytest
from energy_fakes import fake_roots

from bayestuner.measure.energy import counting_meter


@pytest.fixture
def roots(tmp_path):
    """Empty fake roots: no sysfs, no devices, no /proc."""
    return fake_roots(tmp_path)


@pytest.fixture(params=["extension", "python"])
def way(request, monkeypatch):
    """Run the test with the C extension, and again as if it had not been built."""
    if request.param == "python":
        monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    else:
        pytest.importorskip("bayestuner._native", exc_type=ImportError)
    return request.param


@pytest.fixture
def public_roots():
    """Fake roots in a folder that every user may enter; pytest's own are private to the one who runs it."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-test-") as folder:
        Path(folder).chmod(0o755)
        yield fake_roots(Path(folder))


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Fake counters are moved by a thread, which may have to wait for its turn on a loaded machine."""
    monkeypatch.setattr(counting_meter, "PROOF_TIMEOUT_S", 0.5)
    monkeypatch.setattr(counting_meter, "SLOW_COUNTER_S", 0.0)
