"""Words and tables; above all, what may be claimed from an estimate."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from study_doubles import pretend_run, small_space

from bayestuner.goal import Goal
from bayestuner.report.result import result_markdown, result_text
from bayestuner.report.tables import markdown_table, plain_table
from bayestuner.report.words import duration, number, quantity, with_interval
from bayestuner.study.figures import figure
from bayestuner.study.sides import judging_goal
from bayestuner.study.study import Study
from bayestuner.study.summary import summarise
from bayestuner.trial import Measured, Reading

BIGGEST = {"cores": 4, "memory_mib": 512, "batch_size": 8}
SMALL = {"cores": 2, "memory_mib": 512, "batch_size": 8}

IMAGES = SimpleNamespace(unit="image", metric_units={})


def finished(path, *, estimated, drift=1.0):
    """A study with a recommendation; in the repeats the machine is `drift` times as fast as before."""
    goal = Goal(minimize="power_w", subject_to=["throughput >= 40%"])
    details = {
        "power_source": "model" if estimated else "perf",
        "estimated": estimated,
        "cpus": [0, 1],
        "memory_max": 2**29,
        "duration_s": 2.0,
    }
    with Study.create(path, small_space(), goal, "random", 0, 2, name="toy", job={"unit": "image"}) as study:
        for config, role in (
            (BIGGEST, "baseline"),
            (SMALL, "search"),
            (SMALL, "repeat"),
            (BIGGEST, "repeat"),
            (BIGGEST, "repeat"),
            (SMALL, "repeat"),
        ):
            outcome = pretend_run(config)
            if role == "repeat":
                outcome = Measured({n: Reading(r.value * (drift if n == "throughput" else 1.0)) for n, r in outcome.metrics.items()})
            study.tell(study.adopt(config, role), outcome, details)
        study.set_result(
            {
                "complete": True,
                "recommended": SMALL,
                "rejected": [],
                "env": {"THREADS": "2"},
                "command": ["python", "job.py", "8"],
                "stop_reason": "the end",
            }
        )
        return summarise(study), study.records(), judging_goal(study, study.records())


def test_a_measured_saving_is_claimed(tmp_path):
    summary, records, _ = finished(tmp_path / "s", estimated=False)
    text = result_text(summary, Path("s"), records)
    assert "30.0 ± 0.0 % less power" in text  # 35 W against 50 W, twice
    assert "launch by launch over 2 pairs" in " ".join(text.split())
    assert "12 s of running, 4 s of it the search" in " ".join(text.split())
    assert "estimate" not in text.lower()
    assert "THREADS=2 " in text.partition("apply with")[2]


def test_doubts_about_the_runs_are_said(tmp_path):
    with Study.create(tmp_path / "s", small_space(), Goal(minimize="cores"), "random", 0, 4) as study:
        for flags in (("thrashing",), ("thrashing", "contended"), ()):
            study.tell(study.ask(), Measured({"throughput": Reading(1.0)}, flags))
        text = " ".join(result_text(summarise(study), Path("s"), study.records()).split())
    assert "other programs used the machine during 1 of the runs" in text
    assert "in 2 of the runs the memory limit was too small for the files the job reads" in text
    assert "hypervisor" not in text


def test_a_bound_that_the_interval_crosses_is_met_on_average(tmp_path):
    goal = Goal(minimize="power_w", subject_to=["throughput >= 40"])
    for k, (values, words) in enumerate((((41.0, 43.0, 42.0), "yes, on average"), ((60.0, 61.0, 60.5), "yes"))):
        with Study.create(tmp_path / f"s{k}", small_space(), goal, "random", 0, 4) as study:
            for value in values:
                outcome = Measured({"power_w": Reading(10.0), "throughput": Reading(value)})
                study.tell(study.adopt(SMALL, "repeat"), outcome)
            study.set_result({"complete": True, "recommended": SMALL, "rejected": []})
            verdict = next(
                line for line in result_text(summarise(study), Path("s"), study.records()).splitlines() if "meets the goal" in line
            )
        assert verdict.split("meets the goal")[1].strip() == words


def test_no_saving_is_claimed_from_an_estimate(tmp_path):
    summary, records, _ = finished(tmp_path / "s", estimated=True)
    for text in (result_text(summary, Path("s"), records), result_markdown(summary, Path("s"), records)):
        assert "% less" not in text
        assert "ESTIMATED" in text
        assert "power (estimated)" in text
        assert "energy per image (estimated)" in text or "energy per image" not in text


@pytest.mark.parametrize("drift", [0.5, 2.0])
def test_a_relative_bound_is_held_against_the_repeats(tmp_path, drift):
    """A machine that became slower or faster after the first run makes nothing feasible or infeasible."""
    summary, _, goal = finished(tmp_path / "s", estimated=False, drift=drift)
    assert goal.bounds[0].limit == pytest.approx(0.4 * drift * pretend_run(BIGGEST).values["throughput"])
    assert summary.recommended.meets_goal is True
    assert summary.search_goal.bounds[0].limit == pytest.approx(0.4 * pretend_run(BIGGEST).values["throughput"])


@pytest.mark.parametrize(
    ("drift", "verdict"), [(1.0, "throughput +0.0 %; within noise (3.0 %)"), (0.5, "throughput -50.0 %; more than noise: throughput")]
)
def test_drift_of_the_default_is_reported(tmp_path, drift, verdict):
    summary, records, _ = finished(tmp_path / "s", estimated=False, drift=drift)
    text = " ".join(result_text(summary, Path("s"), records).split())
    assert f"its last launches against its first run: power +0.0 %, {verdict}" in text


def test_numbers_in_words():
    assert [number(v) for v in (0, 0.01234, 12.3456, 123.456, 4567.8, 1.5e7)] == ["0", "0.01234", "12.35", "123.5", "4568", "1.500e+07"]
    own = SimpleNamespace(unit="image", metric_units={"p99_ms": "ms"})
    assert quantity("p99_ms", 51.26, own) == "51.26 ms"
    assert quantity("throughput", 51.26, IMAGES) == "51.26 image/s"
    assert quantity("latency_p50_s", 0.0123, IMAGES) == "12.30 ms"
    assert quantity("memory_peak_bytes", 2**28, IMAGES) == "256.0 MiB"
    assert with_interval("power_w", figure([10.0, 12.0]), IMAGES) == "11.00 ± 12.71 W"
    assert [duration(s) for s in (5, 65, 3700)] == ["5 s", "1 min 05 s", "1 h 01 min"]


def test_tables():
    assert markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
    table = plain_table(["name", "text"], [["a", "x" * 200]], width=40)
    assert max(map(len, table.split("\n"))) <= 40
