"""`measure.stop`: what its conditions become, and that every mistake is named with its key."""

import pytest
from measure.job.test_job import GOOD, mistakes, parse

from bayestuner.measure.job.stop import StopCondition


def with_stop(value):
    return GOOD + f"stop = {value}\n"


def test_none_by_default(tmp_path):
    assert parse(GOOD, tmp_path).measure.stop == ()


def test_conditions(tmp_path):
    stop = parse(with_stop('["expected_improvement < 10%", "regret<=0.5 %", " time > 1.5h"]'), tmp_path).measure.stop
    assert stop == (StopCondition("expected_improvement", 0.1), StopCondition("regret", 0.005), StopCondition("time", 5400.0))
    assert [str(c) for c in stop] == ["expected_improvement < 10%", "regret < 0.5%", "time > 5400s"]
    assert parse(with_stop('["time > 5400s", "regret < 0.5%"]'), tmp_path).measure.stop == (stop[2], stop[1])
    assert parse(with_stop('["time >= 90min"]'), tmp_path).measure.stop == stop[2:]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("soon", "write it as 'expected_improvement < 10%'"),
        ("regret < -1%", "write it as"),
        ("regrets < 1%", "did you mean 'regret'?"),
        ("watts < 1%", "known: expected_improvement, regret, time"),
        ("regret > 1%", "as 'regret < 1%'"),
        ("time < 2h", "as 'time > 2h'"),
        ("regret < 0.01", "needs a percentage"),
        ("regret < 1h", "needs a percentage"),
        ("time > 2", "one of s, min, h"),
        ("time > 2%", "one of s, min, h"),
        ("time > 0 h", "more than 0 seconds"),
        ("regret < 0%", "more than 0% and less than 100%, not 0%"),
        ("expected_improvement < 100%", "less than 100%"),
    ],
)
def test_mistakes(tmp_path, text, says):
    found = mistakes(
        with_stop(f'["time > 1h", "{text}"]') if not text.startswith("time") else with_stop(f'["regret < 1%", "{text}"]'), tmp_path
    )
    assert list(found) == ["measure.stop[1]"]
    assert says in found["measure.stop[1]"]


def test_twice_and_together_with_other_mistakes(tmp_path):
    found = mistakes(with_stop('["regret < 1%", "regret < 2%"]\nbudget = 0'), tmp_path)
    assert set(found) == {"measure.stop[1]", "measure.budget"}
    assert "a second condition on regret" in found["measure.stop[1]"]
    assert "list of texts" in mistakes(with_stop('"regret < 1%"'), tmp_path)["measure.stop"]
