"""Shared set-up of all tests: what they may touch, which of them run side by side, and which only in the long form (``--long``)."""

import atexit
import os
import shutil
import signal
import tempfile
from importlib.util import find_spec

import pytest
from side_by_side import in_order, together
from uncompiled import each_value_once

# Tests run beside other tuners, and several tunes of one session beside each other's: they take no lock of the whole machine.
os.environ["BAYESTUNER_RUNTIME_DIR"] = _folder = tempfile.mkdtemp(prefix="bayestuner-runtime-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

# What tests leave for a look lies in a folder of this run alone, since two runs that clean one folder up get in each other's way.
# It is kept where a test failed.
if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
    os.environ["PYTEST_DEBUG_TEMPROOT"] = _left = tempfile.mkdtemp(prefix="bayestuner-tests-")

    def pytest_unconfigure(config):
        if not getattr(config, "failed", False):
            shutil.rmtree(_left, ignore_errors=True)

    def pytest_sessionfinish(session):
        session.config.failed = session.testsfailed > 0


# One core a test: BLAS pools of several workers on a small machine slow everything down. Set before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shell ignores these for what it starts in the background, and every program inherits that; ours are told by them to stop.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else lambda *_: None)


collect_ignore = [] if find_spec("ray") else ["hosts/test_ray.py"]  # `make test-ray` runs it, where Ray is


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests marked long, and all rounds of those that repeat")


def pytest_configure(config):
    if config.pluginmanager.hasplugin("hypothesispytest"):  # not in a guest, where its import alone takes seconds
        from hypothesis import settings

        settings.register_profile("any machine", deadline=None)  # an example that takes 0.2 s on a busy machine is no mistake
        settings.load_profile("any machine")


@pytest.fixture
def long(request):
    """Whether every round of a test that repeats is wanted; else a part of them is enough."""
    return request.config.getoption("long")


def pytest_collection_modifyitems(config, items):
    kept = items[:] if config.getoption("long") else [item for item in items if not item.get_closest_marker("long")]
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        kept = each_value_once(kept)
    ids = {item.nodeid for item in kept}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in ids])
    items[:] = kept
    items.sort(key=lambda item: in_order(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return together(nodeid)

    config.option.loadscopereorder = False  # ours is kept
    return Together(config, log)
