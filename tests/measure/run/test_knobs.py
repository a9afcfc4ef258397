"""The machine's own settings through a whole run: real jobs in real limits, settings on a fake tree with a kernel that clamps."""

import os
import subprocess
from pathlib import Path

import pytest
from actuator_fakes import TURBO_KHZ, ClampingKernel, server
from jobs import bayestuner, write_job

from bayestuner.errors import InvalidJob, KnobUnavailable
from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency
from bayestuner.measure.actuators.power_cap import open_power_cap
from bayestuner.measure.actuators.setting import KnobFault
from bayestuner.measure.platform import KnobOffer
from bayestuner.measure.run import knobs as open_knobs_module
from bayestuner.measure.run.knobs import open_knobs
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Measured

KNOBS = """
ceiling_mhz = { kind = "cpu_frequency", values = [1200, 2400, 3300] }
cap_w = { kind = "power_cap", min = 60, max = 120, step = 20 }
cores = { kind = "cores", min = 1, max = 1 }
"""


@pytest.fixture
def kernel():
    return ClampingKernel()


@pytest.fixture
def roots(tmp_path, monkeypatch, kernel):
    """A server whose files a clamping kernel writes."""
    roots = server(tmp_path / "machine")

    def offers(_roots=None):
        return {
            "cpu_frequency": KnobOffer("", lambda: open_cpu_frequency(roots, kernel)),
            "power_cap": KnobOffer("", lambda: open_power_cap(roots, kernel)),
        }

    monkeypatch.setattr(open_knobs_module, "built_in_knobs", offers)
    return roots


def held(roots):
    """Every ceiling and every long-term limit of the tree."""
    names = ("devices/system/cpu/cpufreq/policy*/scaling_max_freq", "devices/virtual/powercap/intel-rapl/*/constraint_0_power_limit_uw")
    return {str(path): path.read_text().strip() for name in names for path in Path(roots.sysfs).glob(name)}


def test_a_run_has_its_settings_while_the_job_runs_and_not_a_moment_longer(roots, make_job, isolation):
    before = held(roots)
    job = make_job("spin_job.py", 1, knobs=KNOBS)
    knobs = open_knobs(job, (0,))
    assert held(roots) == before  # the trial is put back
    seen = []
    with Runner(job, meter=None, isolation=isolation, knobs=knobs) as runner:
        launch = runner._launch

        def looking(*given):
            seen.append(held(roots))
            return launch(*given)

        runner._launch = looking
        record = runner.run({"ceiling_mhz": 2400, "cap_w": 80, "cores": 1})
    assert isinstance(record.outcome, Measured), record
    (cpu,) = record.details["cpus"]
    changed = {path: value for path, value in seen[0].items() if before[path] != value}
    assert sorted(changed.values()) == ["2400000", "80000000", "80000000"]
    assert any(f"policy{cpu}/" in path for path in changed)
    assert held(roots) == before
    assert [(s["knob"], s["asked"], s["got"]) for s in record.details["settings"]] == [
        ("ceiling_mhz", "2400000", "2400000"),
        ("cap_w", "80000000", "80000000"),
        ("cap_w", "80000000", "80000000"),
    ]


def test_a_broken_run_puts_its_settings_back(roots, make_job, isolation, monkeypatch):
    before = held(roots)
    job = make_job("spin_job.py", 1, knobs=KNOBS)
    knobs = open_knobs(job, (0,))
    monkeypatch.setattr("bayestuner.measure.run.runner.watch", lambda *a, **k: 1 / 0)
    with Runner(job, meter=None, isolation=isolation, knobs=knobs) as runner, pytest.raises(ZeroDivisionError):
        runner.run(job.all_max_config() | {"ceiling_mhz": 1200})
    assert held(roots) == before


def test_a_machine_that_stops_obeying_is_a_fault_of_the_machine_and_leaves_nothing_set(roots, make_job, isolation, kernel, nothing_left):
    """Its firmware lowers the clock after the trial: the run is not made under another ceiling than it says."""
    before = held(roots)
    job = make_job("spin_job.py", 1, knobs=KNOBS)
    knobs = open_knobs(job, (0,))
    kernel.most_khz = 1_500_000
    with Runner(job, meter=None, isolation=isolation, knobs=knobs) as runner:
        with pytest.raises(KnobFault, match=r"holds 1500000 after 2400000 was written"):
            runner.run({"ceiling_mhz": 2400, "cap_w": 80, "cores": 1})
        kernel.most_khz = TURBO_KHZ
        assert isinstance(runner.run({"ceiling_mhz": 2400, "cap_w": 80, "cores": 1}).outcome, Measured)
    assert held(roots) == before, "what it was before the fault is what it is again"


def test_what_could_not_be_put_back_is_flagged_in_the_run(roots, make_job, isolation, kernel):
    job = make_job("spin_job.py", 1, knobs=KNOBS)
    knobs = open_knobs(job, (0,))
    write = kernel.write
    kernel.write = lambda path, value: None if value == str(TURBO_KHZ) else write(path, value)
    with Runner(job, meter=None, isolation=isolation, knobs=knobs) as runner:
        record = runner.run({"ceiling_mhz": 2400, "cap_w": 80, "cores": 1})
    assert "not_restored" in record.details["flags"]
    assert "holds 2400000 after 3300000 was written" in record.details["not_restored"][0]


def test_values_the_machine_cannot_take_are_refused_before_any_run(roots, make_job):
    job = make_job("spin_job.py", 1, knobs='ceiling_ghz = { kind = "cpu_frequency", values = [1.2, 5.0] }')
    with pytest.raises(KnobUnavailable, match=r"'ceiling_ghz' \(kind cpu_frequency\) can't take 5\.0: 5000 MHz is outside"):
        open_knobs(job, (0,))
    job = make_job("spin_job.py", 1, knobs='cap_w = { kind = "power_cap", values = [60, 500] }')
    with pytest.raises(KnobUnavailable, match="500 W is more than a package of this machine takes, 120 W"):
        open_knobs(job, (0,))


@pytest.mark.parametrize(
    ("knob", "words"),
    [
        ('ceiling = { kind = "cpu_frequency", values = [1200] }', r"call it setting_mhz, setting_ghz or setting_khz, not 'ceiling'"),
        ('cap_kw = { kind = "power_cap", values = [1] }', r"call it setting_w or setting_mw, not 'cap_kw'"),
        ('cap_w = { kind = "power_cap", values = [0, 10] }', "takes numbers above 0, not 0"),
        ('cap_w = { kind = "power_cap", values = ["low", "high"] }', "takes numbers above 0, not 'low'"),
        ('a_w = { kind = "power_cap", values = [9] }\nb_w = { kind = "power_cap", values = [9] }', "a second knob of kind power_cap"),
    ],
)
def test_mistakes_in_the_job_file(make_job, knob, words):
    with pytest.raises(InvalidJob, match=words):
        make_job("spin_job.py", 1, knobs=knob)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root and writable cgroup controllers")
@pytest.mark.skipif(Path("/sys/devices/system/cpu/cpufreq/policy0").exists(), reason="this machine has cpufreq")
def test_a_machine_without_the_knob_is_told_so_by_tune_and_no_study_is_begun(tmp_path):
    job = write_job(tmp_path, replace=[("[goal]", 'ceiling_mhz = { kind = "cpu_frequency", values = [1200, 2400] }\n\n[goal]')])
    done = subprocess.run(bayestuner("tune", job, "--study", tmp_path / "s"), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr.startswith("bayestuner: the knob 'ceiling_mhz' (kind cpu_frequency) can't be set here: ")
    assert not (tmp_path / "s").exists()
