"""What `tune` shows while it works: the same run numbers as `show`, and nothing cut off that cannot be seen elsewhere."""

import io

import pytest
from study_doubles import small_goal, small_space

from bayestuner.cli import measure_grid
from bayestuner.cli.main import make_parser
from bayestuner.cli.progress import Lines, Live, table_width
from bayestuner.cli.tune import _resume_command
from bayestuner.report.result import result_markdown, trials_table
from bayestuner.study.study import Study
from bayestuner.study.summary import summarise
from bayestuner.trial import Failed, Measured, Reading
from bayestuner.tune import RunProgress


class Terminal(io.StringIO):
    """A double of a terminal."""

    def isatty(self):
        return True


class Job:
    """A double: what the progress reads of a job."""

    name, unit = "toy", "image"
    metric_units, runs_to_completion = {}, False


@pytest.fixture
def study(tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 3) as made:
        yield made


def begun(progress, study):
    progress.began(study, Job(), resumed=False, meter=None, isolation=None)
    return progress


def finished(number, k, n, role, config, outcome, best=None):
    return RunProgress(number, k, n, role, config, best, 9.0, outcome, {})


GOOD = Measured({"power_w": Reading(50.0), "throughput": Reading(30.0)})


def test_runs_have_the_same_numbers_as_in_show(study):
    stream = io.StringIO()
    progress = begun(Lines(stream), study)
    for role, name in (("baseline", "  1/3 default"), ("search", "  2/3"), ("repeat", "  3 repeat 1/2"), ("repeat", "  4 repeat 2/2")):
        trial = study.adopt(study.space.config(5), role)
        study.tell(trial, GOOD)
        k, n = (trial.number - 1, 2) if role == "repeat" else (trial.number + 1, 3)
        progress.run_finished(finished(trial.number, k, n, role, trial.config, GOOD))
        assert stream.getvalue().splitlines()[-1].startswith(name)
    table = trials_table(summarise(study), study.records()).splitlines()
    assert table[0].split()[:2] == ["run", "role"]
    assert [line.split()[:2] for line in table[2:]] == [["1", "baseline"], ["2", "search"], ["3", "repeat"], ["4", "repeat"]]


def test_in_a_pipe_nothing_is_cut_or_wrapped(study):
    stream = io.StringIO()
    message = "the job ended with exit status 1: " + "x" * 100
    begun(Lines(stream), study).run_finished(finished(0, 1, 3, "search", study.space.config(0), Failed("error", message)))
    assert stream.getvalue().splitlines()[-1].endswith(f"error: {message}")
    trial = study.ask()
    study.tell(trial, Failed("error", message))
    assert message in trials_table(summarise(study), study.records(), width=table_width(stream))
    assert message in result_markdown(summarise(study), study.folder, study.records())
    assert f"{message[:30]}" in (narrow := trials_table(summarise(study), study.records(), width=90))
    assert max(map(len, narrow.splitlines())) <= 90


def test_on_a_narrow_terminal_what_does_not_fit_stands_below(study, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    progress = begun(Lines(stream), study)
    trial = study.ask()
    best = study.tell(trial, GOOD)
    progress.run_finished(finished(trial.number, 1, 3, "search", trial.config, GOOD, best))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    assert lines[-1].strip() == "meets goal, best so far"
    assert lines[-2].split()[0] == "1/3"


def test_a_narrow_live_line_keeps_the_best_so_far(study, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    progress = begun(Live(stream), study)
    trial = study.ask()
    best = study.tell(trial, GOOD)
    config = {f"a_knob_with_a_long_name_{i}": i for i in range(6)}
    progress.run_started(RunProgress(1, 2, 3, "search", config, best, 65.0))
    live = stream.getvalue().rsplit("\x1b[K", 1)[-1]
    progress.close()
    assert len(live) < 80
    assert live.startswith("run 2 of 3, 0 s  |  up to 1 min 05 s left  |  best so far 50.00 W  |  a_knob")


def test_the_command_to_go_on_with_has_what_the_study_does_not_keep():
    args = make_parser().parse_args(
        ["tune", "a b.toml", "--study", "s t", "--budget", "7", "--preset", "paper", "--allow-affinity", "--json"]
    )
    assert _resume_command(args) == "bayestuner tune 'a b.toml' --study 's t' --preset paper --allow-affinity --json"
    assert _resume_command(make_parser().parse_args(["tune", "job.toml", "--seed", "3"])) == "bayestuner tune job.toml"
    words = ["measure-grid", "job.toml", "--out", "t.csv", "--only", "batch=1,2", "--seed", "3", "--wait"]
    assert measure_grid._resume_command(make_parser().parse_args(words)) == (
        "bayestuner measure-grid job.toml --out t.csv --only batch=1,2 --seed 3 --wait"
    )
