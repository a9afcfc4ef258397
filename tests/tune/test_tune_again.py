"""`tune` called again: on a finished study, with another budget, with another program, after a start that failed. The runs are doubles."""

import contextlib
import sys
from dataclasses import replace

import pytest
from tune_doubles import Told, measured

from bayestuner.errors import InvalidGoal, InvalidSpace, MachineBusy
from bayestuner.measure.job.parser import load_job
from bayestuner.measure.run.runner import Runner
from bayestuner.study.registry import UnknownStrategy
from bayestuner.study.study import Study
from bayestuner.trial import Reading
from bayestuner.tune import StudyMismatch, entry, grid, tune

JOB = """
[job]
name = "double"
command = ["{{python}}", "program.py", "{{bs}}"]
[knobs]
bs = {{ kind = "argument", min = 1, max = 60 }}
[goal]
minimize = "cpu_s_per_item"
subject_to = ["{bound}"]
[measure]
budget = {budget}
repeats = 1
"""


class Isolation:
    """A double of limits that needs none."""

    name, controls = "double", frozenset()


class Machine:
    """Stands in for the machine: lets `tune` make no real run; every run is measured the same, or raises `error`."""

    def __init__(self, monkeypatch):
        self.runs, self.error, self.refuses = 0, None, None
        self.meter, self.power = None, False
        for module in (entry, grid):
            monkeypatch.setattr(module, "machine_lock", self._lock)
            monkeypatch.setattr(module, "open_machine", self._open)
        monkeypatch.setattr(Runner, "run", self._run)

    def _open(self, job, allow_affinity, progress):
        return Isolation(), None, {"preflight": {}, "meter": self.meter}

    @contextlib.contextmanager
    def _lock(self, path, **how):
        if self.refuses is not None:
            raise self.refuses
        yield

    def _run(self, config, **how):
        if self.error is not None:
            raise self.error
        self.runs += 1
        record = measured(100.0)
        if not self.power:
            return record
        outcome = replace(record.outcome, metrics={**record.outcome.metrics, "power_w": Reading(50.0, 0.1)})
        return replace(record, outcome=outcome)


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


@pytest.fixture
def write(tmp_path):
    def write_job(budget=4, bound="throughput >= 10", program="print(1)"):
        (tmp_path / "program.py").write_text(program)
        (tmp_path / "job.toml").write_text(JOB.format(budget=budget, bound=bound))
        return load_job(tmp_path / "job.toml")

    return write_job


def call(job, tmp_path, **how):
    told = Told()
    how = {"strategy": None, "seed": None, **how}
    result = tune(job, study_path=tmp_path / "s", progress=told, **how)
    return result, told


def test_a_finished_study_says_that_nothing_was_run_and_how_to_go_on(machine, write, tmp_path):
    job = write()
    first, told = call(job, tmp_path, strategy="random")
    made = machine.runs
    assert first.found
    assert not any("nothing was run" in note for note in told.notes)
    again, told = call(job, tmp_path)
    assert machine.runs == made
    assert again.summary.as_dict() == first.summary.as_dict()
    (note,) = told.notes
    assert note.startswith(f"nothing was run: the study in {tmp_path / 's'} was finished at 20")
    assert note.endswith(
        "(the budget of 4 runs is used); to go on with it give a larger budget (--budget, or measure.budget in the job file); "
        "to search anew name another folder with --study"
    )


def test_a_budget_raised_in_the_job_file_counts(machine, write, tmp_path):
    call(write(budget=4), tmp_path, strategy="random")
    _, told = call(write(budget=6), tmp_path)
    assert "the budget is now 6 runs in all; it was 4" in told.notes
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert sum(r.role != "repeat" for r in study.records()) == 6
        assert study.info.budget == study.info.job["measure"]["budget"] == 6
    _, told = call(write(budget=6), tmp_path)
    assert [note.partition(":")[0] for note in told.notes] == ["nothing was run"]


def test_a_budget_given_outlasts_the_file_that_was_not_changed(machine, write, tmp_path):
    job = write(budget=4)
    call(job, tmp_path, strategy="random", budget=5)
    made = machine.runs
    call(job, tmp_path)  # the study's own budget, not the file's
    assert machine.runs == made
    call(job, tmp_path, budget=6)
    call(write(budget=7), tmp_path)
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert sum(r.role != "repeat" for r in study.records()) == 7


def test_a_changed_program_is_said_at_the_start_and_in_the_result(machine, write, tmp_path):
    call(write(budget=4), tmp_path, strategy="random")
    path = tmp_path / "program.py"
    with Study.open(tmp_path / "s") as study:
        study.set_result(None)  # as if it had been stopped before its end
    result, told = call(write(budget=6, program="print(2)"), tmp_path)
    assert told.notes[0].startswith(f"{path} has changed since")
    assert any(note.startswith(f"{path} was changed while the study was made") for note in result.summary.notes)
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert [list(f["programs"])[-1] for f in study.provenance() if "programs" in f] == [str(path)] * 2


def test_a_finished_study_of_another_goal_is_followed_by_one_that_learns_from_it(machine, write, tmp_path):
    call(write(), tmp_path, strategy="random")
    result, told = call(write(bound="throughput >= 20"), tmp_path)
    assert result.study_path == tmp_path / "s-2"
    assert told.notes[0].startswith(f"the study in {tmp_path / 's'} is finished, and since then the goal was")
    assert told.notes[1].startswith("learning from earlier studies, as far as they predict this job: s (")
    assert result.summary.learnt_from == ("s",)
    made = machine.runs
    again, told = call(write(bound="throughput >= 20"), tmp_path)
    assert (again.study_path, machine.runs) == (tmp_path / "s-2", made)
    assert "goes on in" in told.notes[0]
    first, _ = call(write(), tmp_path)
    assert first.study_path == tmp_path / "s"


def test_a_program_that_stays_the_same_is_not_spoken_of(machine, write, tmp_path):
    call(write(budget=4), tmp_path, strategy="random")
    result, told = call(write(budget=5), tmp_path)
    assert not any("program.py" in note for note in (*told.notes, *result.summary.notes))


@pytest.mark.parametrize(
    ("how", "error"),
    [({"strategy": "trade_off"}, InvalidGoal), ({"strategy": "batch_sizer"}, InvalidSpace), ({"strategy": "bayse"}, UnknownStrategy)],
)
def test_a_strategy_that_cannot_search_leaves_no_study_behind(machine, write, tmp_path, how, error):
    job = write(bound="cpu_s_per_item <= 100")  # trade_off needs a bound on another metric
    text = (tmp_path / "job.toml").read_text()
    (tmp_path / "job.toml").write_text(text.replace("{bs}", "{x}").replace("bs = {", "x = {"))  # batch_sizer needs a batch size
    job = load_job(tmp_path / "job.toml")
    with pytest.raises(error):
        call(job, tmp_path, **how)
    assert not (tmp_path / "s").exists()
    assert machine.runs == 0
    result, _ = call(job, tmp_path, strategy="random")  # and is not in the way of the next
    assert result.found


def test_a_mistyped_strategy_is_called_that_on_an_old_study_too(machine, write, tmp_path):
    job = write()
    call(job, tmp_path, strategy="random")
    with pytest.raises(UnknownStrategy, match="there is no strategy 'randon'"):
        call(job, tmp_path, strategy="randon")


def test_a_start_that_fails_before_anything_was_measured_leaves_no_study(machine, write, tmp_path):
    job = write()
    machine.error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        call(job, tmp_path, strategy="random")
    assert not (tmp_path / "s").exists()
    (tmp_path / "s").mkdir()  # one that was there before goes too: it is empty again
    with pytest.raises(OSError, match="No space"):
        call(job, tmp_path, strategy="random")
    machine.error = None
    assert call(job, tmp_path, strategy="random")[0].found


def test_what_was_measured_outlasts_a_failure(machine, write, tmp_path):
    job = write(budget=4)
    call(job, tmp_path, strategy="random")
    machine.error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        call(job, tmp_path, budget=6)
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert sum(r.tell_seq is not None for r in study.records()) == machine.runs


def test_an_interrupted_start_is_gone_on_with(machine, write, tmp_path):
    job = write()
    machine.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        call(job, tmp_path, strategy="random")
    machine.error = None
    assert call(job, tmp_path)[0].found


def test_a_refused_start_changes_no_budget(machine, write, tmp_path):
    job = write(budget=4)
    call(job, tmp_path, strategy="random")
    machine.refuses = MachineBusy("another one measures")
    with pytest.raises(MachineBusy):
        call(job, tmp_path, budget=6)
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert study.info.budget == 4


def test_a_program_that_changed_between_the_parts_of_a_table_is_said(machine, write, tmp_path):
    class GridTold(grid.GridProgress, Told):
        """Keeps the notes."""

    told, again, last = GridTold(), GridTold(), GridTold()
    grid.measure_grid(write(), tmp_path / "t.csv", only={"bs": ["1"]}, progress=told)
    grid.measure_grid(write(program="print(2)"), tmp_path / "t.csv", only={"bs": ["2"]}, progress=again)
    grid.measure_grid(write(program="print(2)"), tmp_path / "t.csv", only={"bs": ["3"]}, progress=last)
    assert (told.notes, last.notes) == ([], [])
    assert [note.partition(",")[0] for note in again.notes] == [
        f"{tmp_path / 'program.py'} has changed since rows of {tmp_path / 't.csv'} were measured"
    ]


METERS = [
    ({"source": "perf", "estimated": False, "boundary": "pkg+dram"}, {"source": "model", "estimated": True, "boundary": "model"}),
    ({"source": "perf", "estimated": False, "boundary": "pkg+dram"}, {"source": "powercap", "estimated": False, "boundary": "pkg"}),
    ({"source": "perf", "estimated": False, "boundary": "pkg"}, {"source": "perf", "estimated": False, "boundary": "pkg+dram"}),
]


@pytest.mark.parametrize(("first", "second"), METERS)
def test_another_meter_is_refused_where_power_was_measured(machine, write, tmp_path, first, second):
    job = write()
    for power, refused in ((True, True), (False, False)):
        study = tmp_path / f"s{power}"
        machine.meter, machine.power = first, power
        tune(job, study_path=study, strategy="random", budget=2)
        machine.meter = second
        if refused:
            with pytest.raises(StudyMismatch, match=r"power was measured by perf \(.*, and would now be by .* figures of two"):
                tune(job, study_path=study, budget=4)
            machine.meter = first
        tune(job, study_path=study, budget=4)
        with Study.open(study, read_only=True) as opened:
            assert opened.info.budget == 4
            assert sum(r.role != "repeat" for r in opened.records()) == 4


def test_the_interpreter_and_the_script_are_both_watched(write):
    from bayestuner.tune.programs import fingerprints

    job = write()
    found = fingerprints(job)
    assert list(found) == [sys.executable, str(job.cwd / "program.py")]
