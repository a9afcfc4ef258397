"""What the tests of `tune`'s parts share: a job and a scripted stand-in for the runner."""

from bayestuner.measure.run.record import RunRecord
from bayestuner.trial import Measured, Reading
from bayestuner.tune import Progress

JOB = """
[job]
command = ["{python}", "-c", "pass", "{batch}"]
[knobs]
cores = { kind = "cores", min = 1, max = 1 }
batch = { kind = "argument", min = 1, max = 60 }
[goal]
minimize = "cpu_s_per_item"
subject_to = ["throughput >= 50"]
[measure]
budget = 40
"""


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.notes, self.finished = [], []

    def note(self, text):
        self.notes.append(text)

    def run_finished(self, run):
        self.finished.append(run)


class ScriptedRunner:
    """A DOUBLE of the runner: gives out records in turn, the last one again and again, and keeps how it was called."""

    meter = None

    def __init__(self, *records):
        self.records, self.calls = list(records), []

    def run(self, config, *, min_throughput=None):
        self.calls.append((config, min_throughput))
        record = self.records[0] if len(self.records) == 1 else self.records.pop(0)
        if isinstance(record, Exception):
            raise record
        return record


def measured(throughput=100.0, *flags, outside=0.0, sd=0.5):
    """A record of a run that went well but for its flags."""
    metrics = {"throughput": Reading(throughput, sd), "cpu_s_per_item": Reading(1.0 / throughput, sd / throughput**2)}
    return RunRecord(Measured(metrics, flags), {"outside_share": outside, "duration_s": 0.0})
