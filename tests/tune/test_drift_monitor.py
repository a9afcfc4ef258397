"""References and idle baselines: when they are due, what they say, what is stored."""

import time

import pytest
from tune_doubles import Told, measured

from bayestuner.measure.energy.meter import EnergySample
from bayestuner.tune.drift_monitor import DriftMonitor


def plan(make, measure):
    """Roles of a whole search, references where they are due."""
    trial_runner, told = make(measured(100.0), measure=measure)
    drift_monitor = DriftMonitor(trial_runner.job, trial_runner.study, None, told)
    trial_runner.run(trial_runner.study.adopt(trial_runner.job.all_max_config(), "baseline"), "baseline")
    while True:
        if drift_monitor.reference_is_due():
            trial_runner.run(trial_runner.study.adopt(trial_runner.job.all_max_config(), "reference"), "reference")
            continue
        trial = trial_runner.study.ask()
        if trial is None:
            return [r.role for r in trial_runner.study.records()]
        trial_runner.run(trial, "search")


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
    trial_runner, told = make(measured(100.0))
    trial_runner.study.set_budget(20)
    drift_monitor = DriftMonitor(trial_runner.job, trial_runner.study, None, told)
    trial_runner.run(trial_runner.study.adopt(trial_runner.job.all_max_config(), "baseline"), "baseline")
    while (trial := trial_runner.study.ask()) is not None:
        assert not drift_monitor.reference_is_due()
        trial_runner.run(trial, "search")


def test_an_exhaustive_search_spends_its_budget_on_its_grid(make):
    trial_runner, told = make(measured(100.0), strategy="exhaustive")
    trial_runner.study.set_budget(60)
    drift_monitor = DriftMonitor(trial_runner.job, trial_runner.study, None, told)
    trial_runner.run(trial_runner.study.adopt(trial_runner.job.all_max_config(), "baseline"), "baseline")
    while (trial := trial_runner.study.ask()) is not None:
        assert not drift_monitor.reference_is_due()
        trial_runner.run(trial, "search")
    assert len({r.trial.row for r in trial_runner.study.records()}) == 60


def test_drift_beyond_noise_is_said_and_within_noise_only_reported(make):
    trial_runner, told = make(measured(100.0), measured(101.0), measured(80.0))
    drift_monitor = DriftMonitor(trial_runner.job, trial_runner.study, None, told)
    default = trial_runner.job.all_max_config()
    trial_runner.run(trial_runner.study.adopt(default, "baseline"), "baseline")
    trial_runner.run(trial_runner.study.adopt(default, "reference"), "reference")
    assert drift_monitor.report("reference") == []
    assert told.notes == ["the all-max configuration again, against its first run: cpu_s_per_item -1.0 %, throughput +1.0 %; within noise"]
    trial_runner.run(trial_runner.study.adopt(default, "reference"), "reference")
    beyond = drift_monitor.report("reference")
    assert ["throughput" in text for text in beyond] == [False, True]
    assert "moved by -20.0 %" in beyond[1]
    trial_runner.run(trial_runner.study.adopt(default, "repeat"), "repeat")
    assert len(drift_monitor.report("repeat")) == 2


class MeterOf40W:
    """A DOUBLE, not a meter: 40 W at first, 50 W when it is read later."""

    estimated, watts = False, 40

    def read(self):
        now = time.monotonic_ns()
        return EnergySample(now, 0, (now * self.watts,))

    def energy_j(self, first, last):
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e9


def test_the_idle_power_is_stored_and_its_drift_said(make):
    trial_runner, told = make(measured(100.0), measure="idle_seconds = 0.05")
    meter = MeterOf40W()
    drift_monitor = DriftMonitor(trial_runner.job, trial_runner.study, meter, told)
    drift_monitor.measure_idle()
    meter.watts = 50
    drift_monitor.measure_idle()
    stored = [f["idle"]["power_w"] for f in trial_runner.study.provenance() if "idle" in f]
    assert stored == pytest.approx([40.0, 50.0])
    assert "from 40.0 W to 50.0 W" in told.notes[-1]


def test_without_a_real_meter_no_time_is_spent_on_the_idle_machine(make):
    trial_runner, _ = make(measured(100.0))
    estimate = MeterOf40W()
    estimate.estimated = True
    for meter in (None, estimate):
        told = Told()
        begun = time.monotonic()
        DriftMonitor(trial_runner.job, trial_runner.study, meter, told).measure_idle()
        assert time.monotonic() - begun < 5.0
        assert told.notes == []
