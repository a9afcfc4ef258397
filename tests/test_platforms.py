"""A platform beside the machine, the made-up device of examples/platforms, through the whole of `tune`; no such device exists."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import PROGRAM, RECOMMENDED, bayestuner, processes_of
from patience import wait_for
from topology_trees import broadwell

from bayestuner.errors import InvalidJob, KnobUnavailable, MeterUnavailable
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.platform import PlatformProblem, load_platform, load_platforms, open_meters
from bayestuner.measure.run.knobs import open_knobs
from bayestuner.study.study import Study

ROOT = Path(__file__).resolve().parent.parent
TOY = ROOT / "examples/platforms/toy_device.py"
WAIT_S = 240
JOB = """
[job]
name = "sleeper"
command = ["{python}", "{program}", "{{batch_size}}"]

[knobs]
clock_mhz = {{ kind = "toy.clock", values = [300, 600, 900] }}
batch_size = {{ kind = "argument", values = [1, 2] }}

[goal]
minimize = "power_w"
subject_to = ["throughput >= 20"]

[measure]
platforms = ["toy_device:Toy"]
energy = ["toy.energy"]
budget = 4
min_seconds = {seconds}
max_seconds = {seconds}
relative_error = 0.5
repeats = 1
max_outside_load = 1
isolation = "affinity-allowed"
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The device's folder; the example can be imported, here and in what is started."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "clock").write_text("900\n")
    monkeypatch.setenv("TOY_DEVICE", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOY.parent), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(str(TOY.parent))
    return folder


def write_toy_job(folder, seconds="0.3"):
    program = folder / "program.py"
    program.write_text(PROGRAM.replace("ballast = bytearray(batch * 8 * 2**20)", "ballast = bytearray(1)"))
    path = folder / "job.toml"
    path.write_text(JOB.format(python=sys.executable, program=program, seconds=seconds))
    return path


def test_the_page_shows_the_example_as_it_is():
    assert TOY.read_text() in (ROOT / "docs/platforms.md").read_text()


def test_what_the_page_shows_of_job_files_is_taken(toy, tmp_path):
    """On a server with second threads; whether a clock can be set is not the file's question."""
    shown = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs/platforms.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    topology = read_topology(broadwell(tmp_path / "server"), range(56))
    for fragment in shown:
        text = f'[job]\ncommand = ["true"]\n[goal]\nminimize = "power_w"\n{fragment}'
        job = parse_job(text, tmp_path / "job.toml", topology=topology)
        assert set(job.all_max_config().values()) & {3300, 900}


@pytest.mark.slow
def test_tune_sets_the_devices_clock_measures_its_energy_and_puts_it_back(toy, tmp_path):
    job = write_toy_job(tmp_path)
    done = subprocess.run(
        bayestuner("tune", job, "--study", tmp_path / "s", "--json"), capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode in RECOMMENDED, done.stderr
    result = json.loads(done.stdout)
    assert result["recommended"]["config"]["clock_mhz"] == 300
    assert result["estimated"] is True  # nobody measured anything
    assert (toy / "clock").read_text() == "900\n"
    with Study.open(tmp_path / "s", read_only=True) as study:
        records = study.records()
    for record in records:
        clock = record.trial.config["clock_mhz"]
        assert record.details["settings"] == [
            {"knob": "clock_mhz", "target": "clock", "asked": str(clock), "got": str(clock), "before": "900"}
        ]
        assert record.trial.outcome.metrics["power_w"].value == pytest.approx(2 + 30 * (clock / 900) ** 3, rel=0.05)
        assert record.details["power_source"] == "toy.energy"


@pytest.mark.slow
def test_killed_in_mid_run_the_next_start_puts_the_clock_back(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESTUNER_RUNTIME_DIR", str(tmp_path / "run"))
    job = write_toy_job(tmp_path, seconds="600")
    text = job.read_text().replace("values = [300, 600, 900]", "values = [300, 600]")  # so that the default isn't the device's own
    job.write_text(text)
    with subprocess.Popen(bayestuner("tune", job, "--study", tmp_path / "s"), stdout=subprocess.DEVNULL) as tuner:
        wait_for(lambda: processes_of(tmp_path / "program.py"))
        assert (toy / "clock").read_text() == "600\n"
        tuner.send_signal(signal.SIGKILL)
    assert (toy / "clock").read_text() == "600\n"
    job.write_text(text.replace("seconds = 600", "seconds = 0.3"))
    done = subprocess.run(bayestuner("tune", job, "--study", tmp_path / "s2"), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode in RECOMMENDED, done.stdout + done.stderr
    assert f"clock is 900 again; a BayesTuner that was killed (process {tuner.pid}) had left 600" in " ".join(done.stdout.split())
    assert (toy / "clock").read_text() == "900\n"
    with Study.open(tmp_path / "s2", read_only=True) as study:
        assert {r.details["settings"][0]["before"] for r in study.records()} == {"900"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_tuner_that_is_stopped_puts_the_clock_back_itself(toy, tmp_path, number):
    job = write_toy_job(tmp_path, seconds="600")
    job.write_text(job.read_text().replace("values = [300, 600, 900]", "values = [300, 600]"))
    with subprocess.Popen(
        bayestuner("tune", job, "--study", tmp_path / "s"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as tuner:
        wait_for(lambda: processes_of(tmp_path / "program.py"))
        assert (toy / "clock").read_text() == "600\n"
        tuner.send_signal(number)
        assert tuner.wait(WAIT_S) == 128 + number
    assert (toy / "clock").read_text() == "900\n"


def parse(folder, **changes):
    text = JOB.format(python=sys.executable, program=folder / "program.py", seconds=1)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return parse_job(text, folder / "job.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"toy.clock"', '"toy.clok"', r"unknown kind 'toy\.clok'; did you mean 'toy\.clock'"),
        ("clock_mhz =", "clock =", r"says its unit: call it setting_mhz, not 'clock'"),
        ('["toy.energy"]', '["toy.enrgy"]', r"no platform of measure\.platforms has the meter 'toy\.enrgy'; did you mean 'toy\.energy'"),
        ('"toy_device:Toy"', '"no_such_module:Toy"', "can't be loaded: ModuleNotFoundError"),
        ('"toy_device:Toy"', '"toy_device:CLOCKS_MHZ"', "is no platform: it lacks name, knobs, meters"),
        ('"toy_device:Toy"', '"not_installed"', "no installed package offers a platform 'not_installed'"),
    ],
)
def test_mistakes_are_told_with_their_key(toy, tmp_path, old, new, words):
    with pytest.raises(InvalidJob, match=words):
        parse(tmp_path, change=(old, new))


def test_a_platform_that_cannot_be_loaded_is_one_mistake_whatever_rests_on_it(toy, tmp_path):
    with pytest.raises(InvalidJob, match=r"job\.toml: measure\.platforms: the platform"):
        parse(tmp_path, change=('"toy_device:Toy"', '"no_such_module:Toy"'))


def test_a_value_the_device_has_not_is_refused_before_any_run(toy, tmp_path):
    job = parse(tmp_path, change=("[300, 600, 900]", "[300, 500]"))
    with pytest.raises(KnobUnavailable, match=r"'clock_mhz' \(kind toy\.clock\) can't take 500: 500.* MHz is none of"):
        open_knobs(job, (0,))


def test_a_missing_device_is_refused_with_what_to_do(toy, tmp_path):
    job = parse(tmp_path)
    (toy / "clock").unlink()
    with pytest.raises(KnobUnavailable, match=r"can't be set here: TOY_DEVICE names no folder.*make one: mkdir toy"):
        open_knobs(job, (0,))
    with pytest.raises(MeterUnavailable, match=r"the meter toy\.energy can't be used: TOY_DEVICE"):
        open_meters(job.measure.energy, job.measure.platforms)


def test_a_device_that_takes_a_value_and_does_not_hold_it_is_found_out_before_any_run(toy, tmp_path, monkeypatch):
    import toy_device

    monkeypatch.setattr(toy_device.Clock, "write", lambda self, target, text: None)
    with pytest.raises(KnobUnavailable, match="trying out the job's settings failed: clock_mhz: clock holds 900 after 300 was written"):
        open_knobs(parse(tmp_path), (0,))


def test_a_meter_of_a_platform_is_added_to_the_machines_own(toy):
    meter, _ = open_meters(["model", "toy.energy"], ["toy_device:Toy"])
    try:
        assert (meter.source, meter.estimated, meter.boundary) == ("model+toy.energy", True, "model+toy device (made up)")
        assert meter.domains[-1] == "toy"
        first, last = meter.read(), meter.read()
        toy_j = (last.raw_counts[-1] - first.raw_counts[-1]) / 1e6
        machine = meter.parts[0].energy_j(*(replace(s, raw_counts=s.raw_counts[:-1]) for s in (first, last)))
        assert meter.energy_j(first, last) == pytest.approx(machine + toy_j)
    finally:
        meter.close()


def test_two_platforms_of_one_name_are_refused(toy, monkeypatch):
    import toy_device

    monkeypatch.setattr(toy_device, "Again", type("Again", (toy_device.Toy,), {}), raising=False)
    with pytest.raises(PlatformProblem, match="two platforms are called 'toy'"):
        load_platforms(["toy_device:Toy", "toy_device:Again"])


def test_an_installed_package_offers_one_by_its_entry_point(toy, tmp_path, monkeypatch):
    """As pip would have put it: a folder with metadata on the path."""
    info = tmp_path / "site" / "toy_device-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-device\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bayestuner.platforms]\ntoy = toy_device:Toy\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert load_platform("toy").name == "toy"
    assert parse(tmp_path, change=('"toy_device:Toy"', '"toy"')).measure.platforms == ("toy",)
