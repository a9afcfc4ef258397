"""Paired changes: what a drifting machine does to both sides falls out."""

import pytest
from study_doubles import small_goal, small_space

from bayestuner.study.pairing import paired_changes
from bayestuner.study.rounds import DETAIL, rounds_of
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading

BIG = {"cores": 4, "memory_mib": 512, "batch_size": 8}
SMALL = {"cores": 2, "memory_mib": 512, "batch_size": 8}


def study_of(path, launches):
    study = Study.create(path, small_space(), small_goal(), "random")
    for config, outcome in launches:
        study.tell(study.adopt(config, "repeat"), outcome)
    return study


def watts(value):
    return Measured({"power_w": Reading(value), "throughput": Reading(30.0)})


def change(study):
    with study:
        return paired_changes(rounds_of(study.records()).values(), study.space.row(SMALL), study.space.row(BIG))


def test_a_drift_that_hits_both_alike_leaves_the_change_sharp(tmp_path):
    launches = [(c, watts(w * d)) for d in (1.0, 1.2, 1.5) for c, w in ((SMALL, 70.0), (BIG, 100.0))]
    found = change(study_of(tmp_path / "s", launches))["power_w"]
    assert (found.n, found.mean, found.half_width) == (3, pytest.approx(-0.3), pytest.approx(0.0, abs=1e-12))


def test_pairs_are_of_one_round(tmp_path):
    """Studies of earlier versions don't number their rounds: they launched one candidate and the default in alternation."""
    other = {"cores": 1, "memory_mib": 512, "batch_size": 8}
    rejected = [(other, watts(60.0)), (BIG, watts(1000.0)), (BIG, watts(1000.0)), (other, watts(60.0))]
    launches = [*rejected, (SMALL, watts(70.0)), (BIG, watts(100.0)), (BIG, watts(100.0)), (SMALL, watts(70.0))]
    found = change(study_of(tmp_path / "s", launches))["power_w"]
    assert (found.n, found.mean) == (2, pytest.approx(-0.3))


def test_rounds_are_numbered_by_who_launches_them(tmp_path):
    with study_of(tmp_path / "s", []) as study:
        for number, config in ((4, SMALL), (4, BIG), (5, SMALL)):
            study.tell(study.adopt(config, "repeat"), watts(70.0), {DETAIL: number})
        rows = study.space.row(SMALL), study.space.row(BIG)
        assert {k: tuple(r) for k, r in rounds_of(study.records()).items()} == {4: rows, 5: rows[:1]}


def test_a_failed_launch_takes_its_pair_with_it_and_a_transient_one_does_not(tmp_path):
    launches = [(SMALL, watts(70.0)), (BIG, watts(100.0)), (BIG, Failed("oom")), (SMALL, watts(10.0))]
    found = change(study_of(tmp_path / "s", launches))["power_w"]
    assert (found.n, found.mean, found.low) == (1, pytest.approx(-0.3), None)
    launches = [(SMALL, watts(70.0)), (BIG, Failed("transient")), (BIG, watts(100.0))]
    assert change(study_of(tmp_path / "t", launches))["power_w"].n == 1


def test_no_pairs_no_change(tmp_path):
    assert change(study_of(tmp_path / "s", [(SMALL, watts(70.0))])) == {}
