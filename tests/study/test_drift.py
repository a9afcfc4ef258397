"""Drift of the machine by launches of its default configuration, against what chance may do."""

import pytest
from study_doubles import small_goal, small_space

from bayestuner.study.drift import NOISE_SHARE, drift_since_first
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading

BIG = {"cores": 4, "memory_mib": 512, "batch_size": 8}
SMALL = {"cores": 2, "memory_mib": 512, "batch_size": 8}


def launches(path, *told, role=None):
    """Drift of the throughput after (role, config, outcome or throughput, sd); by the last one's role."""
    with Study.create(path, small_space(), small_goal(), "random") as study:
        for which, config, value, sd in told:
            outcome = value if isinstance(value, Failed) else Measured({"power_w": Reading(50.0), "throughput": Reading(value, sd)})
            study.tell(study.adopt(config, which), outcome)
        return drift_since_first(study.records(), role or told[-1][0], ["throughput", "latency_p50_s"])


def test_a_change_beyond_the_spread_is_drift(tmp_path):
    (drift,) = launches(tmp_path / "s", ("baseline", BIG, 100.0, 1.0), ("reference", BIG, 90.0, 1.0))
    assert drift.change == pytest.approx(-0.1)
    assert drift.noise == pytest.approx(3 * 2**0.5 / 100)
    assert drift.beyond_noise
    assert drift.as_dict()["beyond_noise"] is True


def test_launches_differ_by_more_than_they_know_of_themselves(tmp_path):
    (drift,) = launches(tmp_path / "s", ("baseline", BIG, 100.0, 0.01), ("reference", BIG, 97.5, 0.01))
    assert drift.noise == NOISE_SHARE
    assert not drift.beyond_noise


def test_the_spread_between_final_launches_counts_too(tmp_path):
    told = [("baseline", BIG, 100.0, 0.01), *(("repeat", BIG, v, 0.01) for v in (80.0, 100.0, 60.0))]
    (drift,) = launches(tmp_path / "s", *told)
    assert (drift.n, drift.change) == (3, pytest.approx(-0.2))
    assert drift.noise == pytest.approx(3 * 20.0 * (4 / 3) ** 0.5 / 100)
    assert not drift.beyond_noise


def test_only_the_latest_reference_and_only_the_default_counts(tmp_path):
    told = [("baseline", BIG, 100.0, 1.0), ("reference", BIG, 50.0, 1.0), ("repeat", SMALL, 10.0, 1.0), ("reference", BIG, 100.0, 1.0)]
    (drift,) = launches(tmp_path / "s", *told)
    assert (drift.n, drift.change) == (1, 0.0)


def test_without_two_measured_launches_there_is_nothing_to_say(tmp_path):
    assert launches(tmp_path / "a", ("baseline", BIG, 100.0, 1.0), role="repeat") == ()
    assert launches(tmp_path / "b", ("baseline", BIG, Failed("oom"), None), ("reference", BIG, 90.0, 1.0)) == ()
    assert launches(tmp_path / "c", ("baseline", BIG, 100.0, 1.0), ("reference", BIG, Failed("oom"), None)) == ()
