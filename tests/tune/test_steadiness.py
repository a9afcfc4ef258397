"""References and idle baselines: when they are due, what they say, what is stored."""

import time

import pytest
from tune_doubles import Told, measured

from bayestuner.measure.energy.meter import EnergySample
from bayestuner.tune.steadiness import Steadiness


def plan(make, measure):
    """Roles of a whole search, references where they are due."""
    launcher, told = make(measured(100.0), measure=measure)
    steadiness = Steadiness(launcher.job, launcher.study, None, told)
    launcher.run(launcher.study.adopt(launcher.job.all_max_config(), "baseline"), "baseline")
    while True:
        if steadiness.reference_is_due():
            launcher.run(launcher.study.adopt(launcher.job.all_max_config(), "reference"), "reference")
            continue
        trial = launcher.study.ask()
        if trial is None:
            return [r.role for r in launcher.study.records()]
        launcher.run(trial, "search")


def test_every_tenth_run_is_a_reference_where_ten_more_follow(make):
    roles = plan(make, "")
    assert len(roles) == 40  # it costs budget, openly
    assert [i for i, role in enumerate(roles) if role == "reference"] == [10, 20]


@pytest.mark.parametrize(
    ("measure", "places"), [("reference_every = 0", []), ("reference_every = 5", [5, 10, 15, 20, 25, 30]), ("reference_every = 20", [])]
)
def test_how_often_is_the_job_files(measure, places, make):
    assert [i for i, role in enumerate(plan(make, measure)) if role == "reference"] == places


def test_a_small_budget_pays_for_no_reference(make):
    launcher, told = make(measured(100.0))
    launcher.study.set_budget(20)
    steadiness = Steadiness(launcher.job, launcher.study, None, told)
    launcher.run(launcher.study.adopt(launcher.job.all_max_config(), "baseline"), "baseline")
    while (trial := launcher.study.ask()) is not None:
        assert not steadiness.reference_is_due()
        launcher.run(trial, "search")


def test_an_exhaustive_search_spends_its_budget_on_its_grid(make):
    launcher, told = make(measured(100.0), strategy="exhaustive")
    launcher.study.set_budget(60)
    steadiness = Steadiness(launcher.job, launcher.study, None, told)
    launcher.run(launcher.study.adopt(launcher.job.all_max_config(), "baseline"), "baseline")
    while (trial := launcher.study.ask()) is not None:
        assert not steadiness.reference_is_due()
        launcher.run(trial, "search")
    assert len({r.trial.row for r in launcher.study.records()}) == 60


def test_drift_beyond_noise_is_said_and_within_noise_only_reported(make):
    launcher, told = make(measured(100.0), measured(101.0), measured(80.0))
    steadiness = Steadiness(launcher.job, launcher.study, None, told)
    default = launcher.job.all_max_config()
    launcher.run(launcher.study.adopt(default, "baseline"), "baseline")
    launcher.run(launcher.study.adopt(default, "reference"), "reference")
    assert steadiness.report("reference") == []
    assert told.notes == ["the all-max configuration again, against its first run: cpu_s_per_item -1.0 %, throughput +1.0 %; within noise"]
    launcher.run(launcher.study.adopt(default, "reference"), "reference")
    beyond = steadiness.report("reference")
    assert ["throughput" in text for text in beyond] == [False, True]
    assert "moved by -20.0 %" in beyond[1]
    launcher.run(launcher.study.adopt(default, "repeat"), "repeat")
    assert len(steadiness.report("repeat")) == 2


class MeterOf40W:
    """A DOUBLE, not a meter: 40 W at first, 50 W when it is read later."""

    estimated, watts = False, 40

    def read(self):
        now = time.monotonic_ns()
        return EnergySample(now, 0, (now * self.watts,))

    def energy_j(self, first, last):
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e9


def test_the_idle_power_is_stored_and_its_drift_said(make):
    launcher, told = make(measured(100.0), measure="idle_seconds = 0.05")
    meter = MeterOf40W()
    steadiness = Steadiness(launcher.job, launcher.study, meter, told)
    steadiness.measure_idle()
    meter.watts = 50
    steadiness.measure_idle()
    stored = [f["idle"]["power_w"] for f in launcher.study.provenance() if "idle" in f]
    assert stored == pytest.approx([40.0, 50.0])
    assert "from 40.0 W to 50.0 W" in told.notes[-1]


def test_without_a_real_meter_no_time_is_spent_on_the_idle_machine(make):
    launcher, _ = make(measured(100.0))
    estimate = MeterOf40W()
    estimate.estimated = True
    for meter in (None, estimate):
        told = Told()
        begun = time.monotonic()
        Steadiness(launcher.job, launcher.study, meter, told).measure_idle()
        assert time.monotonic() - begun < 5.0
        assert told.notes == []
