"""The benchmark of measuring, made short: what its table shows is what was read."""

import pytest

from bayestuner.measure.cgroup.hierarchy import discover
from benchmarks import bench_measure
from benchmarks.measuring import groups, install, readers, sampling, tree

pytest.importorskip("bayestuner._native", exc_type=ImportError, reason="the C extension is not built")


@pytest.mark.skipif(readers.why_no_namespace() is not None, reason=f"no mount namespace: {readers.why_no_namespace()}")
def test_readers_are_timed_over_the_same_made_up_files():
    timings = readers.compare(("ours", "ours_plain", "files"), rounds=3)
    assert [timing.domains for timing in timings] == [tree.DOMAINS] * 3
    assert all(len(timing.rounds_ns) == 3 and min(timing.rounds_ns) > 0 for timing in timings)
    ours, _, plain_files = timings
    assert ours.median_ns < plain_files.median_ns


@pytest.mark.parametrize("make", [sampling.native, sampling.plain])
def test_a_recording_is_costed(make):
    with sampling.powercap_meter() as meter:
        cost = sampling.record(make(meter, 100.0), 100.0, 0.5)
    assert 5 <= cost.samples <= 60
    assert 0 < cost.share < 1
    assert 0 <= cost.late_p50_s <= cost.late_p99_s <= cost.late_max_s


@pytest.mark.skipif(discover().v2 is None and "memory" not in discover().v1, reason="no cgroup hierarchy is here")
def test_starts_and_limits_are_timed_in_a_real_group(monkeypatch):
    try:
        with groups.group() as group:
            assert all(way(group) > 0 for way in groups.SPAWNS.values())
            path, values = groups.limit_file(group)
            for write in groups.LIMITS.values():
                write(path, values[1])
                assert path.read_text().strip() == values[1]
                write(path, values[0])
    except PermissionError as error:
        pytest.skip(f"cgroups can't be written here: {error}")
    monkeypatch.setattr(bench_measure, "LIMIT_ROUNDS", 3)
    lines = bench_measure.limit_table()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(groups.LIMITS)


def test_the_other_readers_are_pinned():
    lines = install.REQUIREMENTS.read_text().split()
    assert {line.partition("==")[0].lower() for line in lines} == set(readers.PEERS)
    assert all(line.partition("==")[2] for line in lines)
