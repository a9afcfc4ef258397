"""The job file: what a good one becomes, and that every mistake in a bad one is named with its key."""

import re
import sys
from pathlib import Path

import pytest

from bayestuner.errors import InvalidGoal, InvalidJob
from bayestuner.goal import Goal
from bayestuner.measure.job.command import program_problem
from bayestuner.measure.job.parser import MistakesInJob, load_job, parse_job
from bayestuner.measure.job.reference import reference_markdown
from bayestuner.measure.job.schema import MEASURE_KEYS
from bayestuner.measure.machine.memory import MemoryBound
from bayestuner.space import Categorical, Integer, Ordinal

GOOD = """
[job]
command = ["{python}", "-c", "pass", "{batch_size}"]
unit = "image"

[knobs]
cores = { kind = "cores", min = 1, max = "all" }
memory_mib = { kind = "memory", min = 256, max = 1024, step = 256 }
batch_size = { kind = "argument", values = [1, 2, 4, 8] }

[goal]
minimize = "power_w"
subject_to = ["throughput >= 60%"]

[measure]
min_seconds = 0.3
max_seconds = 1
"""

VARIABLE = 'kind = "environment", variable = '


def parse(text, tmp_path, n_cpus=4):
    return parse_job(text, tmp_path / "job.toml", n_cpus=n_cpus, memory=MemoryBound(4 << 30, "a test has 4 GiB"))


def mistakes(text, tmp_path):
    with pytest.raises(MistakesInJob) as caught:
        parse(text, tmp_path)
    return dict(caught.value.mistakes)


PRESETS = """
preset = "strict"
[goal.presets.paper]
subject_to = ["throughput >= 50"]
[goal.presets.strict]
maximize = "throughput"
[measure]
"""


def test_presets_are_the_goal_with_what_differs(tmp_path):
    job = parse(GOOD.replace("[measure]", PRESETS), tmp_path)
    plain = Goal(minimize="power_w", subject_to=["throughput >= 60%"])
    strict = Goal(maximize="throughput", subject_to=["throughput >= 60%"])
    paper = Goal(minimize="power_w", subject_to=["throughput >= 50"])
    assert dict(job.presets) == {"default": plain, "paper": paper, "strict": strict}
    assert job.goal == strict
    assert job.with_preset("default").goal == plain
    with pytest.raises(InvalidGoal, match=r"job\.toml has no preset 'papr'; did you mean 'paper'\?"):
        job.with_preset("papr")


def test_a_margin_tightens_the_bounds_on_what_is_measured(tmp_path):
    bounds = 'subject_to = ["throughput >= 50", "latency_p50_s <= 2", "throughput >= 60%", "cores <= 2"]\nmargin = 0.05'
    job = parse(GOOD.replace('subject_to = ["throughput >= 60%"]', bounds), tmp_path)
    assert [str(b) for b in job.goal.bounds] == ["throughput >= 52.5", "latency_p50_s <= 1.9", "throughput >= 63%", "cores <= 2"]
    assert "goal.margin" in mistakes(GOOD.replace("[measure]", "margin = 2\n[measure]"), tmp_path)


def test_mistakes_in_presets_have_their_keys(tmp_path):
    wrong = PRESETS.replace('"strict"\n', '"strikt"\n', 1).replace(">= 50", "> 50").replace("maximize", "maximise")
    found = mistakes(GOOD.replace("[measure]", wrong), tmp_path)
    assert found.keys() == {"goal.presets.paper.subject_to[0]", "goal.presets.strict.maximise", "goal.preset"}
    assert "did you mean 'strict'?" in found["goal.preset"]
    with_default = GOOD.replace("[measure]", PRESETS.replace("presets.paper", "presets.default"))
    assert mistakes(with_default, tmp_path).keys() == {"goal.presets.default"}
    assert mistakes(GOOD.replace("[measure]", "presets = 3\n[measure]"), tmp_path).keys() == {"goal.presets"}


def test_a_good_file(tmp_path):
    job = parse(GOOD, tmp_path)
    assert job.name == "job"
    assert job.space.knobs == (
        Integer("cores", 1, 4),
        Integer("memory_mib", 256, 1024, 256, more_is="safer"),
        Ordinal("batch_size", [1, 2, 4, 8]),
    )
    assert job.goal == Goal(minimize="power_w", subject_to=["throughput >= 60%"])
    assert job.needs == {"cores", "memory"}
    assert job.needs_power
    config = job.all_max_config()
    assert config == {"cores": 4, "memory_mib": 1024, "batch_size": 8}
    assert job.argv(config) == (sys.executable, "-P", "-c", "pass", "8")
    assert job.memory_bytes_of(config) == 1 << 30
    assert job.cores_of(config) == 4
    assert job.measure.min_seconds == 0.3
    assert job.measure.budget == 20
    assert not job.measure.allow_affinity
    assert job.text == GOOD
    assert job.cwd == tmp_path


def test_all_means_the_cpus_this_process_may_use(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(GOOD)
    import os

    assert load_job(path).all_max_config()["cores"] == len(os.sched_getaffinity(0))


def test_every_mistake_is_reported_at_once(tmp_path):
    text = """
    [job]
    comand = ["x"]
    command = ["no-such-program-anywhere", "{bach}"]
    unit = 3
    [knobs]
    cores = { kind = "cores", min = 5, max = 3 }
    memory = { kind = "memory", min = 1, max = 2 }
    batch = { kind = "argument", values = [1, 2] }
    gpu = { kind = "argumnt", values = [1] }
    threads = { kind = "environment", values = [1] }
    [goal]
    minimize = "powr_w"
    subject_to = ["throughput > 50", "speed >= 3"]
    [measur]
    [measure]
    min_seconds = 50
    energy = ["prf"]
    budget = 0
    seed = true
    """
    found = mistakes(text, tmp_path)
    assert set(found) == {
        "measur",
        "job.comand",
        "job.unit",
        "job.command",
        "knobs.cores.max",
        "knobs.memory",
        "knobs.batch",
        "knobs.gpu.kind",
        "knobs.threads.variable",
        "goal.minimize",
        "goal.subject_to[0]",
        "goal.subject_to[1]",
        "measure.min_seconds",
        "measure.energy",
        "measure.budget",
        "measure.seed",
    }
    assert "did you mean 'command'?" in found["job.comand"]
    assert "did you mean 'power_w'?" in found["goal.minimize"]
    assert "did you mean 'argument'?" in found["knobs.gpu.kind"]
    assert "did you mean 'perf'" in found["measure.energy"]
    assert "empty" in found["knobs.cores.max"]


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("[goal]", "[gaol]", "gaol", "did you mean 'goal'?"),
        ('minimize = "power_w"', "", "goal", "exactly one of minimize and maximize"),
        ('minimize = "power_w"', 'minimize = "power_w"\nmaximize = "throughput"', "goal", "exactly one"),
        ('"throughput >= 60%"', '"throughputs >= 60"', "goal.subject_to[0]", "did you mean 'throughput'?"),
        ('["throughput >= 60%"]', '"throughput >= 60"', "goal.subject_to", "expected a list of texts"),
        ('min = 1, max = "all"', "min = 1, max = 9", "knobs.cores", "asks for up to 9 cores"),
        ('min = 1, max = "all"', "min = 0, max = 2", "knobs.cores.min", "at least 1"),
        ('min = 1, max = "all"', "max = 2", "knobs.cores.min", "missing"),
        ('min = 1, max = "all"', "min = 1, max = 2, values = [1]", "knobs.cores.min", "beside values"),
        ('min = 1, max = "all"', "values = [1.5]", "knobs.cores.values", "whole numbers"),
        ("values = [1, 2, 4, 8]", "values = []", "knobs.batch_size.values", "empty list"),
        (
            "values = [1, 2, 4, 8]",
            "values = [4, 2]",
            "knobs.batch_size.values",
            "2 after 4, but numbers stand in rising order; sort them, or",
        ),
        ("min = 256, max = 1024, step = 256", "values = [512, 256]", "knobs.memory_mib.values", "rising order; sort them"),
        ("values = [1, 2, 4, 8]", "values = [2, 2]", "knobs.batch_size.values", "holds 2 twice"),
        ("values = [1, 2, 4, 8]", 'values = [1, "1"]', "knobs.batch_size.values", "holds 1 and '1', which are one value to the job"),
        ("values = [1, 2, 4, 8]", 'values = [true, "true"]', "knobs.batch_size.values", "holds true and 'true', which are one value"),
        ("values = [1, 2, 4, 8]", 'values = [1e3, "1000.0"]', "knobs.batch_size.values", "which are one value to the job"),
        ("values = [1, 2, 4, 8]", "values = [1, true]", "knobs.batch_size.values", "holds 1 and true, which are one value"),
        ("values = [1, 2, 4, 8]", "values = [1, 1.0], ordered = false", "knobs.batch_size.values", "holds 1 and 1.0, which are one value"),
        ("values = [1, 2, 4, 8]", "values = [[1]]", "knobs.batch_size.values", "expected a list of numbers or of texts, not [[1]]"),
        ("values = [1, 2, 4, 8]", "min = true, max = 2", "knobs.batch_size.min", "expected a number, not true"),
        ("values = [1, 2, 4, 8]", "values = { a = false }", "knobs.batch_size.values", "not { a = false }"),
        ('{ kind = "argument", values', "{ kind = true, values", "knobs.batch_size.kind", "unknown kind true"),
        ("min = 256, max = 1024, step = 256", "values = [256, false]", "knobs.memory_mib.values", "not false"),
        ('unit = "image"', "unit = 2026-11-28", "job.unit", "expected a text, not 2026-11-28"),
        (
            "min = 256, max = 1024",
            "min = 256, max = 4352",
            "knobs.memory_mib",
            "asks for up to 4.25 GiB, but a test has 4 GiB; use at most 4096",
        ),
        (
            'memory_mib = { kind = "memory", min = 256, max = 1024, step = 256',
            'memory_gib = { kind = "memory", min = 4, max = 5',
            "knobs.memory_gib",
            "use at most 4",
        ),
        ("values = [1, 2, 4, 8]", "min = 0.5, max = 1", "knobs.batch_size.step", "missing"),
        ("values = [1, 2, 4, 8]", "min = 1, max = 1e9, step = 1", "knobs.batch_size.step", "use a larger step"),
        ("values = [1, 2, 4, 8]", "valeus = [1]", "knobs.batch_size.valeus", "did you mean 'values'?"),
        ('{ kind = "argument", values = [1, 2, 4, 8] }', "3", "knobs.batch_size", "expected a table"),
        ('"{batch_size}"]', '"8"]', "knobs.batch_size", "would change nothing"),
        ('"{batch_size}"]', '"{batch_size}", "{nothing}"]', "job.command", "{nothing} names no knob"),
        ('"{python}"', '"./serve"', "job.command", "there is no program"),
        ('unit = "image"', 'cwd = "nowhere"', "job.cwd", "there is no folder"),
        ('unit = "image"', 'throughput_regex = "([0-9"', "job.throughput_regex", "not a regular expression"),
        ('unit = "image"', 'throughput_regex = "speed"', "job.throughput_regex", "needs one group"),
        ('unit = "image"', 'ready_regex = "go"', "job.ready_regex", "without job.throughput_regex"),
        ('unit = "image"', 'decimal_mark = ","', "job.decimal_mark", "without job.throughput_regex"),
        ('unit = "image"', 'throughput_regex = "([0-9]+)"\ndecimal_mark = ";"', "job.decimal_mark", "not one of ., ,"),
        ('unit = "image"', 'unit = "image\\u001b[2J"', "job.unit", "can't be printed"),
        ('unit = "image"', 'name = "\\u202egnp"', "job.name", "can't be printed"),
        ("values = [1, 2, 4, 8]", 'values = ["a", "b\\u0007"]', "knobs.batch_size.values", "can't be printed"),
        ('unit = "image"', "env = { A = 1 }", "job.env", "expected a table of texts"),
        ("min_seconds = 0.3", "min_seconds = 0", "measure.min_seconds", "more than 0 s"),
        ("min_seconds = 0.3", "energy = []", "goal.minimize", "needs an energy meter"),
        *(
            ('["throughput >= 60%"]', bounds, "goal.subject_to", words)
            for bounds, words in (
                ('["throughput >= 100", "throughput <= 50"]', "no number meets 'throughput >= 100' and 'throughput <= 50'"),
                (
                    '["throughput >= 80%", "power_w >= 3", "throughput <= 60%"]',
                    "no number meets 'throughput >= 80%' and 'throughput <= 60%'",
                ),
                ('["throughput >= 600%"]', "asks for 6 times what the all-max configuration reaches; was 60% meant?"),
                ('["power_w <= 0"]', "'power_w <= 0' can't be met: the power_w of a run is above 0"),
                ('["throughput >= 60%", "latency_p99_s <= -5%"]', "the latency_p99_s of a run is above 0"),
                ('["cpu_utilisation >= 1.5"]', "cpu_utilisation is 1 at most"),
                ('["cores >= 5"]', "no value of the knob 'cores' meets 'cores >= 5'; it takes 1 to 4"),
                ('["cores <= 0"]', "no value of the knob 'cores' meets"),
                (
                    '["batch_size >= 5", "batch_size <= 7"]',
                    "no value of the knob 'batch_size' meets 'batch_size >= 5' and 'batch_size <= 7'",
                ),
                ('["memory_mib >= 200%"]', "no value of the knob 'memory_mib' meets 'memory_mib >= 2048'; it takes 256 to 1024"),
            )
        ),
        ("min_seconds = 0.3", 'isolation = "none"', "measure.isolation", "not one of cgroup, affinity-allowed"),
        ("[measure]", "[measure]\nrelative_error = 2", "measure.relative_error", "at most 1"),
        ("[measure]", "[measure]\nrelative_error = nan", "measure.relative_error", "expected a number"),
        ("memory_mib =", "throughput =", "knobs.throughput", "name of a metric"),
        ("memory_mib =", "fd =", "knobs.fd", "taken by BayesTuner"),
        ("cores = {", 'memory_gib = { kind = "memory", min = 1, max = 2 }\ncores = {', "knobs.memory_mib", "second knob of kind memory"),
        ("cores = {", f'BATCH_SIZE = {{ {VARIABLE}"B", values = [1] }}\ncores = {{', "knobs.batch_size", "same variable"),
        ("cores = {", f'memory_bytes = {{ {VARIABLE}"B", values = [1] }}\ncores = {{', "knobs.memory_bytes", "rename"),
        ("cores = {", f'b = {{ {VARIABLE}"B C", values = [1] }}\ncores = {{', "knobs.b.variable", "no name of"),
    ],
)
def test_one_mistake(old, new, key, words, tmp_path):
    assert old in GOOD
    found = mistakes(GOOD.replace(old, new, 1), tmp_path)
    assert words in found[key]
    assert "\n" not in found[key]


@pytest.mark.parametrize(
    "bounds",
    [
        '["throughput >= 120%"]',  # the all-max configuration isn't always the fastest
        '["throughput >= 499%"]',
        '["throughput >= 50", "throughput <= 50"]',
        '["throughput >= 60%", "throughput <= 50"]',  # nobody knows before the all-max configuration was measured
        '["latency_p99_s <= 600%", "power_w <= 1%"]',
        '["cores >= 50%", "cores <= 2"]',
    ],
)
def test_bounds_that_some_configuration_may_meet_are_taken(bounds, tmp_path):
    assert len(parse(GOOD.replace('["throughput >= 60%"]', bounds), tmp_path).goal.bounds) >= 1


def test_no_toml_no_file_no_text(tmp_path):
    with pytest.raises(InvalidJob, match=r"not valid TOML.*line 2"):
        parse("[job]\n= 3", tmp_path)
    with pytest.raises(InvalidJob, match="can't read the job file"):
        load_job(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidJob, match="UTF-8"):
        load_job(tmp_path / "bytes.toml")


def test_knobs_become_the_right_kind(tmp_path):
    text = GOOD.replace(
        "[goal]",
        """
precision = { kind = "environment", variable = "PRECISION", values = ["fp32", "int8"] }
effort = { kind = "environment", variable = "EFFORT", values = ["low", "high"], ordered = true }
spin = { kind = "environment", variable = "SPIN", values = [false, true] }
share = { kind = "environment", variable = "SHARE", min = 0.1, max = 0.5, step = 0.1 }
[goal]""",
    )
    job = parse(text, tmp_path)
    assert job.space.knobs[3:] == (
        Categorical("precision", ["fp32", "int8"]),
        Ordinal("effort", ["low", "high"]),
        Categorical("spin", [False, True]),
        Ordinal("share", [0.1, 0.2, 0.3, 0.4, 0.5]),
    )
    assert job.all_max_config()["precision"] == "fp32"
    assert job.all_max_config()["effort"] == "high"


def test_placeholders(tmp_path):
    job = parse(GOOD.replace('"{batch_size}"]', '"--b={batch_size}", "{{literal}}", "{print $1}"]'), tmp_path)
    assert job.argv(job.all_max_config())[4:] == ("--b=8", "{literal}", "{print $1}")


def test_a_relative_program_is_found_from_the_files_folder(tmp_path, monkeypatch):
    program = tmp_path / "serve.sh"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(InvalidJob, match="chmod"):
        parse(GOOD.replace('"{python}"', '"./serve.sh"'), tmp_path)
    program.chmod(0o755)
    monkeypatch.chdir("/")
    job = parse(GOOD.replace('"{python}"', '"./serve.sh"'), tmp_path)
    assert Path(job.argv(job.all_max_config())[0]).samefile(program)


def test_a_program_that_can_not_be_reached_is_a_mistake_and_no_crash(tmp_path, monkeypatch):
    def refuse(self, **_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("bayestuner.measure.job.command.Path.stat", refuse)  # root, who runs these tests, may reach everything
        problem = program_problem("/secret/serve", {})
    assert "no permission to reach /secret/serve" in problem


def test_a_latency_can_not_be_a_goal_of_a_job_that_is_read_by_its_output(tmp_path):
    text = GOOD.replace('unit = "image"', 'throughput_regex = "([0-9]+)"')
    for old, new, key in (
        ('minimize = "power_w"', 'minimize = "latency_p50_s"', "goal.minimize"),
        ('"throughput >= 60%"', '"latency_p99_s <= 0.2"', "goal.subject_to[0]"),
    ):
        found = mistakes(text.replace(old, new), tmp_path)
        assert "a line of output says nothing of a single batch; let the job report each batch on the pipe" in found[key]
    job = parse_job(text, tmp_path / "job.toml")
    with pytest.raises(InvalidGoal, match="latency_p99_s"):
        job.with_goal(Goal(minimize="latency_p99_s"))
    assert parse_job(text.replace(']+)"', ']+)"\ndecimal_mark = ","'), tmp_path / "job.toml").decimal_mark == ","


def test_with_goal(tmp_path):
    job = parse(GOOD, tmp_path)
    assert job.with_goal(Goal(minimize="cores")).goal == Goal(minimize="cores")
    with pytest.raises(InvalidGoal, match="did you mean 'power_w'"):
        job.with_goal(Goal(minimize="power"))


def test_the_reference_is_up_to_date():
    committed = Path(__file__).parents[3] / "docs" / "job-file.md"
    assert committed.read_text() == reference_markdown(), "run: python -m bayestuner.measure.job.reference > docs/job-file.md"


@pytest.mark.parametrize(
    "key", [key for key in MEASURE_KEYS if key.type in ("integer", "number", "number or auto")], ids=lambda key: key.name
)
def test_every_number_of_measure_has_an_upper_end(key, tmp_path):
    """A search whose single run takes 1e300 s would never end, and a seed of 70 bits fits into no study."""
    huge = "1e300" if key.type == "number" else str(2**70)
    text = re.sub(rf"^{key.name} = .*\n", "", GOOD, flags=re.MULTILINE).replace("[measure]", f"[measure]\n{key.name} = {huge}")
    assert "expected at most" in mistakes(text, tmp_path)[f"measure.{key.name}"]
