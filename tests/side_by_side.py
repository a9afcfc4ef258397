"""Which tests run in one process, one after the other, when several processes run them (``pytest -n``), and which come first."""

SPREAD = {
    "benchmarks/test_paper.py",
    "benchmarks/test_peers.py",
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


def in_order(nodeid):
    """Sorts what takes long to the front: nobody shall have to wait for it in the end."""
    group = together(nodeid)
    return (group != nodeid, group != "zoo")
