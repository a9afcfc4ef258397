"""A busy machine is said before the first run, with the programs that keep it busy."""

import subprocess
import sys

import pytest

from bayestuner.measure.run import other_programs
from bayestuner.measure.run.other_programs import OtherPrograms, Program, observe_other_programs


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (OtherPrograms(0.04, 0.0, (Program("cc1", 7, 0.04),)), None),
        (
            OtherPrograms(0.634, 0.0, (Program("cc1", 7, 0.5), Program("ld", 8, 0.13))),
            "other programs use 63 % of its CPU time: cc1 (process 7) 50 %, ld (process 8) 13 %; runs are disturbed",
        ),
        (OtherPrograms(0.3, 0.0, ()), "other programs use 30 % of its CPU time; runs are disturbed"),
        (OtherPrograms(0.0, 0.021, ()), "the hypervisor gives 2.1 % of this machine's CPU time to others"),
    ],
)  # fmt: skip
def test_what_is_said(seen, said):
    warning = seen.warning()
    assert (warning is None) if said is None else (said in warning)


def test_a_program_that_works_is_seen_with_its_share(monkeypatch):
    monkeypatch.setattr(other_programs, "_NAMED", 1000)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            seen = observe_other_programs(1.0)
        finally:
            child.kill()
    mine = [p for p in seen.busiest if p.pid == child.pid]
    assert [p.name for p in mine] == ["python"] or mine[0].name.startswith("python")
    assert 0.02 < mine[0].share <= seen.load + 0.05 <= 1.1
    assert seen.warning() is not None
    assert seen.as_dict()["busiest"]


def test_a_machine_that_does_not_say_is_not_spoken_of(tmp_path):
    assert observe_other_programs(0.1, tmp_path) is None
