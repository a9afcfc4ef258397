"""A study refuses a job file that was edited so that another job runs, though names and the words of the command are the same."""

import pytest

from bayestuner.measure.job.parser import parse_job
from bayestuner.tune.matching import StudyMismatch, check_same, create_study

JOB = """
[job]
command = ["true", "{batch}"]
cwd = "%(cwd)s"
[knobs]
width = { kind = %(width)s }
batch = { kind = "argument", values = %(batch)s }
[goal]
minimize = "cpu_s_per_item"
[measure]
energy = []
"""
CORES = '"cores", min = 1, max = 2'
VARIABLE = '"environment", min = 1, max = 2, variable = "%s"'


@pytest.fixture
def parse(tmp_path):
    def parse_in(folder=tmp_path, cwd="v1", width=VARIABLE % "N", batch="[1, 2, 4]"):
        for name in ("v1", "v2"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return parse_job(JOB % {"cwd": cwd, "width": width, "batch": batch}, folder / "job.toml")

    return parse_in


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"cwd": "v2"}, r"job\.cwd was .*v1 and is .*v2"),
        ({}, {"width": CORES}, "the kind of knob width was environment and is cores"),
        ({}, {"width": VARIABLE % "THREADS"}, "the variable of knob width was N and is THREADS"),
        ({}, {"batch": "[1.0, 2.0, 4.0]"}, r"knob batch had the values \[1,2,4\] and has \[1\.0,2\.0,4\.0\]"),
        (
            {"batch": "[0, 1], ordered = false"},
            {"batch": "[false, true], ordered = false"},
            r"had the values \[0,1\] and has \[false,true\]",
        ),
        ({}, {"batch": "[1, 2, 4, 8]"}, "knob batch was"),
    ],
)
def test_another_job_of_the_same_words_is_refused(parse, tmp_path, before, after, said):
    with create_study(tmp_path / "s", parse(**before), {}, None, None, "random") as study:
        check_same(study, parse(**before), None, None)
        with pytest.raises(StudyMismatch, match=said):
            check_same(study, parse(**after), None, None)


def test_a_job_that_was_moved_with_its_folder_is_the_same(parse, tmp_path):
    with create_study(tmp_path / "s", parse(tmp_path / "here"), {}, None, None, "random") as study:
        check_same(study, parse(tmp_path / "there"), None, None)
        with pytest.raises(StudyMismatch, match=r"job\.cwd"):
            check_same(study, parse(tmp_path / "there", cwd="v2"), None, None)
        check_same(study, parse(tmp_path / "there", cwd=str(tmp_path / "here" / "v1")), None, None)  # another way to name the same folder
