"""Set-up shared by the tests of `tune`'s parts."""

import pytest
from tune_doubles import JOB, ScriptedRunner, Told

from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.study.study import Study
from bayestuner.tune.trial_runner import TrialRunner


@pytest.fixture
def make(tmp_path):
    """``make(*records, measure="", strategy="random")``: a `TrialRunner` with a study of its own and a scripted runner; what it reports."""
    opened = []

    def make_trial_runner(*records, measure="", strategy="random"):
        job = parse_job(JOB + measure, tmp_path / "job.toml")
        study = Study.create(tmp_path / f"s{len(opened)}", job.space, job.goal, strategy, budget=job.measure.budget)
        opened.append(study)
        told = Told()
        return TrialRunner(job, study, ScriptedRunner(*records), told, Cooldown(0.0)), told

    yield make_trial_runner
    for study in opened:
        study.close()
