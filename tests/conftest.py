"""Shared set-up of all tests: what they may touch, which of them run side by side, and which only in the long form (``--long``)."""

import atexit
import os
import shutil
import signal
import tempfile

import pytest

# Tests run beside other tuners, and several tunes of one session beside each other's: they take no lock of the whole machine.
os.environ["BAYESTUNER_RUNTIME_DIR"] = _folder = tempfile.mkdtemp(prefix="bayestuner-runtime-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

# One core a test: BLAS pools of several workers on a small machine slow everything down. Set before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shell ignores these for what it starts in the background, and every program inherits that; ours are told by them to stop.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else lambda *_: None)


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
    if not config.getoption("long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # What takes long first: nobody shall have to wait for it in the end.
    items.sort(key=lambda item: (together(item.nodeid) != item.nodeid, together(item.nodeid) != "zoo"))


# -- side by side (pytest -n) ----------------------------------------------------------------------------------------------

SPREAD = {
    "benchmarks/test_peers.py",
    "benchmarks/test_paper.py",
    "cli/test_command_line.py",
    "cli/test_compare.py",
    "packaging/test_install.py",
    "test_examples.py",
    "test_other_jobs.py",
    "test_platforms.py",
    "tune/test_comparing.py",
    "tune/test_measure_grid.py",
    "tune/test_tune.py",
    "tune/test_tune_faults.py",
    "tune/test_tune_stopping.py",
    "tune/test_tune_two_at_once.py",
}
"""Files whose tests take long, mostly waiting for programs, and share nothing: each of these tests runs wherever there is room."""


def together(nodeid):
    """What a test has to run in one process with, so that fixtures and what tests compile are made once: its file; or the whole zoo."""
    file = nodeid.partition("::")[0].removeprefix("tests/")
    if file in SPREAD:
        return nodeid
    return "zoo" if file.startswith("zoo/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return together(nodeid)

    config.option.loadscopereorder = False  # the order is the one above
    return Together(config, log)
