"""A whole session with a scripted runner: what it comes to where the goal turns out to be impossible."""

import pytest
from tune_doubles import JOB, ScriptedRunner, Told, measured

from bayestuner.measure.job.parser import parse_job
from bayestuner.search.engine import warmup
from bayestuner.tune.matching import create_study
from bayestuner.tune.session import TuningSession, compile_engine


def test_a_goal_that_the_first_run_shows_to_be_impossible_ends_it_after_that_run(tmp_path):
    text = JOB.replace('["throughput >= 50"]', '["throughput >= 60%", "throughput <= 50"]')
    job = parse_job(text, tmp_path / "job.toml")
    runner = ScriptedRunner(measured(100.0))
    with create_study(tmp_path / "s", job, {}, None, None, "random") as study:
        TuningSession(job, study, runner, Told(), {}, ()).run()
        assert len(runner.calls) == 1
        reason = study.info.result["stop_reason"]
    assert "can't be reached: no number meets 'throughput >= 60' and 'throughput <= 50'" in reason


@pytest.mark.parametrize(("strategy", "compiles"), [("bayes", True), ("trade_off", True), ("cherry_pick", True), ("random", False)])
def test_every_strategy_built_on_the_engine_has_it_compiled(strategy, compiles, monkeypatch):
    started = []
    start = warmup.start
    monkeypatch.setattr(warmup, "start", lambda: started.append(True) or start())
    compile_engine(strategy, Told())
    assert bool(started) == compiles
