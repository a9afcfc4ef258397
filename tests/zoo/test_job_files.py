"""The job files under examples/jobs."""

from pathlib import Path

import pytest

from bayestuner.goal import AtLeast, Goal
from bayestuner.measure.job.command import fill_placeholders
from bayestuner.measure.job.parser import load_job
from bayestuner.zoo import job as zoo_job
from bayestuner.zoo import registry

JOBS = sorted((Path(__file__).resolve().parents[2] / "examples" / "jobs").glob("*.toml"))
ZOO_JOBS = [path for path in JOBS if "bayestuner.zoo" in path.read_text()]


def test_there_is_one_for_each_of_the_papers_jobs():
    assert {path.stem for path in ZOO_JOBS} >= {n for n in registry.names() if n not in ("resnet101_v2", "resnet152_v2")}


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.stem)
def test_it_loads(path):
    job = load_job(path)
    assert job.name == path.stem
    assert job.measure.energy[-1] == "model"  # a machine without a meter can still run it


@pytest.mark.parametrize("path", ZOO_JOBS, ids=lambda p: p.stem)
def test_its_command_is_one_the_zoo_takes(path):
    job = load_job(path)
    start, words = job.command[:3], job.command[3:]
    assert start == ("{python}", "-m", "bayestuner.zoo")
    options = zoo_job._parser().parse_args(list(fill_placeholders(words, job.all_max_config(), path.parent)))
    assert options.batch == job.all_max_config()["batch_size"]
    assert registry.spec(options.name).unit == job.unit


@pytest.mark.parametrize("path", [p for p in ZOO_JOBS if p.stem in registry.names()], ids=lambda p: p.stem)
def test_its_preset_is_the_papers_bound_and_its_default_suits_any_machine(path):
    job = load_job(path)
    assert all(bound.relative for bound in job.goal.bounds)
    paper = job.with_preset("paper").goal
    assert paper == Goal(minimize="power_w", subject_to=[AtLeast("throughput", registry.spec(job.name).paper_throughput)])


@pytest.mark.parametrize("path", ZOO_JOBS, ids=lambda p: p.stem)
def test_the_all_max_configuration_has_memory_enough(path):
    """The relative bound is measured on it, so it must not be killed."""
    job = load_job(path)
    most = job.all_max_config()
    needs = registry.spec(job.command[3]).memory_mib
    (b1, m1), (b2, m2) = sorted(needs.items())
    assert most["memory_mib"] > most.get("instances", 1) * (m1 + (m2 - m1) * (most["batch_size"] - b1) / (b2 - b1))


def test_the_demo_is_large_enough():
    job = load_job(next(path for path in JOBS if path.stem == "mobilenet_v2"))
    knobs = {knob.name: knob for knob in job.space.knobs}
    assert len(knobs["memory_mib"].values) * len(knobs["batch_size"].values) * 2 >= 500
