"""The protocol of a run on real small jobs: warm-up, early end, and what is seen around it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bayestuner.measure.energy.meter import EnergySample
from bayestuner.measure.run.conditions import Changes, Conditions
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Measured

pytestmark = pytest.mark.usefixtures("nothing_left")
MEMORY = 'memory_mib = { kind = "memory", values = [48, 512] }'


def run(job, isolation, *, warmup_s=0.0, min_throughput=None, **config):
    with Runner(job, meter=None, isolation=isolation, warmup_s=warmup_s) as runner:
        return runner.run({**job.all_max_config(), **config}, min_throughput=min_throughput)


def test_a_run_is_warm_before_it_is_measured(make_job, isolation):
    record = run(make_job("spin_job.py", "1", "0.005"), isolation, warmup_s=1.0)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.details["warmup_s"] >= 1.0
    assert "unsteady" not in record.outcome.flags or record.details["drift"]


def test_a_job_that_ends_while_it_warms_up_is_measured_and_doubted(make_job, isolation, tmp_path):
    record = run(make_job("misbehave.py", "ends", tmp_path / "pids"), isolation, warmup_s=60.0)
    assert isinstance(record.outcome, Measured), record.outcome
    assert "unsteady" in record.outcome.flags


def test_a_bound_missed_by_far_ends_the_run_early(make_job, isolation):
    job = make_job("spin_job.py", "1", "0.005", min_seconds=20.0, max_seconds=60.0, relative_error=0.0001)
    record = run(job, isolation, min_throughput=1e6)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.details["stop"] == "missed"
    assert "cut_short" in record.outcome.flags
    assert record.details["window_s"] < 20.0
    assert 0 < record.outcome.values["throughput"] < 250


def test_conditions_of_a_run_are_recorded(make_job, isolation):
    details = run(make_job("spin_job.py", "1"), isolation).details
    json.dumps(details)
    conditions = details["conditions"]
    assert conditions["stolen_share"] >= 0.0
    assert conditions["swapped_bytes"] >= 0
    if isolation.name == "cgroup-v1" and "memory" in isolation.controls:
        assert conditions["refaulted_bytes_per_s"] >= 0.0


def test_a_machine_that_counts_nothing_is_no_error(roots):
    class Group:
        """A stand-in without counters."""

        def memory_stress(self):
            raise OSError("gone")

    conditions = Conditions(Group(), (0,), roots)
    conditions.sample(last=True)
    assert conditions.changes(0, 10**18) == Changes()


def uncached_file(path, mib):
    """A file on disk whose pages nobody holds: else they stay charged to whoever read them first, and no limit is felt."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def file_system(path):
    return subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.cgroup
def test_mapped_weights_above_the_limit_thrash_and_are_not_killed(make_job, isolation, tmp_path):
    """The kernel lets such a job live: it pushes its pages out and reads them again in every batch."""
    if "memory" not in isolation.controls:
        pytest.skip("memory can't be limited here")
    if file_system(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("pages of a tmpfs can't be pushed out")
    weights = uncached_file(tmp_path / "weights", 96)
    job = make_job("mmap_weights.py", weights, knobs=MEMORY, max_seconds=6.0)
    small = run(job, isolation, memory_mib=48)
    assert isinstance(small.outcome, Measured), small.outcome
    assert "thrashing" in small.outcome.flags, small.details["conditions"]
    assert small.details["oom_kills"] == 0
    uncached_file(weights, 96)
    large = run(job, isolation, memory_mib=512)
    assert "thrashing" not in large.outcome.flags, large.details["conditions"]
    assert large.outcome.values["throughput"] > small.outcome.values["throughput"]


def test_the_job_of_this_file_can_be_run_alone(tmp_path):
    """Outside BayesTuner, for whoever wants to see it thrash: it runs until it is stopped."""
    weights = uncached_file(tmp_path / "weights", 1)
    script = Path(__file__).parents[1] / "programs" / "mmap_weights.py"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, str(script), str(weights)], check=True, timeout=2)


class SwingingMeter:
    """A DOUBLE, not a meter: 50 W on average, up and down by `swing_w` every second reading."""

    source, estimated, boundary, domains, max_interval_s = "double", False, "pkg", ("package-0",), 60.0

    def __init__(self, swing_w):
        self.swing_w, self.joules, self.last_ns, self.high = swing_w, 0.0, time.monotonic_ns(), False

    def read(self):
        now = time.monotonic_ns()
        self.high = not self.high
        self.joules += (50.0 + (self.swing_w if self.high else -self.swing_w)) * (now - self.last_ns) / 1e9
        self.last_ns = now
        return EnergySample(now, 0, (round(self.joules * 1e9),))

    def energy_j(self, first, last):
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e9

    def close(self):
        pass


@pytest.mark.parametrize(("swing_w", "stop"), [(0.0, "tight"), (45.0, "max_seconds")])
def test_a_real_meters_power_has_to_be_tight_too(swing_w, stop, make_job, isolation):
    job = make_job("spin_job.py", "1", "0.002", min_seconds=1.3, max_seconds=2.5, relative_error=0.2)
    with Runner(job, meter=SwingingMeter(swing_w), isolation=isolation) as runner:
        record = runner.run(job.all_max_config())
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.details["stop"] in (stop, "max_seconds")  # on a busy machine the throughput may not get tight
    assert ("imprecise" in record.outcome.flags) >= (swing_w > 0.0)
