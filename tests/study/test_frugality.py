"""Which configuration takes less of the machine, and how much memory one was seen to need."""

import pytest
from study_doubles import small_goal, small_space

from bayestuner.study.frugality import Frugality
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading

MIB = 2**20


def config(cores, memory, batch=4):
    return {"cores": cores, "memory_mib": memory, "batch_size": batch}


@pytest.fixture
def study_of(tmp_path):
    """``study_of((config, peak in MiB or None for a kill), ..., headroom=0.0)``"""
    opened = []

    def make(*runs, headroom=0.0):
        job = {"knobs": {"cores": "cores", "memory_mib": "memory", "batch_size": "argument"}, "measure": {"memory_headroom": headroom}}
        study = Study.create(tmp_path / f"s{len(opened)}", small_space(), small_goal(), "random", job=job)
        opened.append(study)
        for given, peak in runs:
            readings = {"power_w": 1.0, "throughput": 30.0, "memory_peak_bytes": (peak or 0) * MIB}
            outcome = Failed("oom") if peak is None else Measured({m: Reading(v) for m, v in readings.items()})
            study.tell(study.adopt(given, "search"), outcome, {"memory_max": given["memory_mib"] * MIB})
        return study, Frugality(study, study.records())

    yield make
    for study in opened:
        study.close()


def test_cores_count_before_memory_and_a_limit_that_leaves_too_little_comes_last(study_of):
    given = [config(2, 128), config(1, 512), config(1, 256), config(1, 128)]
    study, frugality = study_of(*((c, 125 if c == config(1, 128) else 60) for c in given))
    ranked = sorted(given, key=lambda c: frugality.key(study.space.row(c)))
    assert ranked == [config(1, 256), config(1, 512), config(2, 128), config(1, 128)]


def test_the_twin_takes_what_the_measured_peak_needs_and_a_tenth_more(study_of):
    study, frugality = study_of((config(2, 512), 100.0), (config(3, 512), 120.0), (config(4, 128), 60.0))
    assert study.space.config(frugality.twin(study.space.row(config(2, 512)))) == config(2, 128)
    assert study.space.config(frugality.twin(study.space.row(config(3, 512)))) == config(3, 256)
    assert frugality.twin(study.space.row(config(4, 128))) is None  # it has no more than it needs
    assert frugality.twin(study.space.row(config(1, 512))) is None  # nothing is known of it


def test_a_twin_that_was_killed_is_none_and_a_peak_at_the_limit_has_none(study_of):
    study, frugality = study_of((config(2, 512), 100.0), (config(2, 128), None), (config(1, 256), 256.0))
    assert study.space.config(frugality.twin(study.space.row(config(2, 512)))) == config(2, 256)
    assert frugality.twin(study.space.row(config(1, 256))) is None


def test_headroom_that_is_asked_for_is_required(study_of):
    study, frugality = study_of((config(2, 128), 100.0), (config(1, 128), 80.0), headroom=0.5)
    assert not frugality.fits(study.space.row(config(2, 128)))
    assert frugality.fits(study.space.row(config(1, 128)))
    assert study.space.config(frugality.twin(study.space.row(config(2, 128)))) == config(2, 256)
    _, relaxed = study_of((config(2, 128), 127.0))
    assert relaxed.fits(study.space.row(config(2, 128)))
