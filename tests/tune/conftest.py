"""Set-up shared by the tests of `tune`'s parts."""

import pytest
from tune_doubles import JOB, ScriptedRunner, Told

from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.study.study import Study
from bayestuner.tune.launching import Launcher


@pytest.fixture
def make(tmp_path):
    """``make(*records, measure="", strategy="random")``: a launcher over a study of its own with a scripted runner, and what it tells."""
    opened = []

    def make_launcher(*records, measure="", strategy="random"):
        job = parse_job(JOB + measure, tmp_path / "job.toml")
        study = Study.create(tmp_path / f"s{len(opened)}", job.space, job.goal, strategy, budget=job.measure.budget)
        opened.append(study)
        told = Told()
        return Launcher(job, study, ScriptedRunner(*records), told, Cooldown(0.0)), told

    yield make_launcher
    for study in opened:
        study.close()
