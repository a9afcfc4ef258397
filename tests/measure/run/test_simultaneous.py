"""Runs that are made at the same time: one measuring window for all, and the CPU time of the others."""

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.isolation import GroupUsage
from bayestuner.measure.run.simultaneous import SimultaneousRuns


class Group:
    """A double of a run's group whose CPU seconds are given, one value for each reading; None: the group was removed."""

    def __init__(self, *used):
        self.used = list(used)

    def usage(self):
        value = self.used.pop(0) if len(self.used) > 1 else self.used[0]
        if value is None:
            raise BayesTunerError("removed")
        return GroupUsage(cpu_s=value)


def test_the_window_begins_when_the_last_run_is_warm_and_ends_when_the_last_is_measured():
    runs = SimultaneousRuns(2)
    one, two = runs.participant(0), runs.participant(1)
    one.note_warm(10)
    one.note_warm(11)
    assert (one.window_begins_ns, two.window_begins_ns) == (None, None)
    two.note_warm(20)
    one.note_warm(21)
    assert (one.window_begins_ns, two.window_begins_ns) == (20, 20)
    two.note_measured(30)
    assert one.window_ends_ns is None
    one.note_measured(40)
    two.note_measured(41)
    assert (one.window_ends_ns, two.window_ends_ns) == (40, 40)
    one.note_ended()
    assert not two.abandoned


def test_a_run_that_ends_early_abandons_the_others():
    runs = SimultaneousRuns(2)
    one, two = runs.participant(0), runs.participant(1)
    one.note_warm(1)
    two.note_warm(2)
    one.note_measured(3)
    assert not one.abandoned
    two.note_ended()
    assert one.abandoned


def test_abandon_ends_all():
    runs = SimultaneousRuns(3)
    runs.abandon()
    assert all(runs.participant(k).abandoned for k in range(3))


def test_the_cpu_time_of_the_other_runs_never_falls():
    runs = SimultaneousRuns(3)
    assert runs.participant(0).cpu_s_of_other_runs() == 0.0
    for k, group in enumerate((Group(100.0), Group(1.0, 4.0, None), Group(2.0))):
        runs.participant(k).note_group(group)
    assert [runs.participant(0).cpu_s_of_other_runs() for _ in range(4)] == [
        3.0,
        6.0,
        6.0,
        6.0,
    ]  # a group that was removed keeps what it had
    assert runs.participant(1).cpu_s_of_other_runs() == 102.0
