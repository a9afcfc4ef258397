"""What of the tests is left out where numba compiles nothing (``make test-nojit``): cases that run the same lines again, slowly."""

from collections import defaultdict


def each_value_once(items):
    """The tests in order, of a parametrised one only the cases with a value that none before it had; combinations are for compiled code."""
    seen = defaultdict(set)
    kept = []
    for item in items:
        values = {(name, repr(value)) for name, value in item.callspec.params.items()} if hasattr(item, "callspec") else {None}
        before = seen[item.nodeid.partition("[")[0]]
        if values - before:
            kept.append(item)
            before |= values
    return kept
