"""What runs that are made at once know of each other."""

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.isolation import GroupUsage
from bayestuner.measure.run.together import Together


class Group:
    """A double: a group that has used so much."""

    def __init__(self, *used):
        self.used = list(used)

    def usage(self):
        value = self.used.pop(0) if len(self.used) > 1 else self.used[0]
        if value is None:
            raise BayesTunerError("removed")
        return GroupUsage(cpu_s=value)


def test_it_begins_with_the_last_one_warm_and_ends_with_the_last_one_measured():
    together = Together(2)
    one, two = together.seat(0), together.seat(1)
    one.warm(10)
    one.warm(11)
    assert (one.begin_ns, two.begin_ns) == (None, None)
    two.warm(20)
    one.warm(21)
    assert (one.begin_ns, two.begin_ns) == (20, 20)
    two.measured(30)
    assert one.end_ns is None
    one.measured(40)
    two.measured(41)
    assert (one.end_ns, two.end_ns) == (40, 40)
    one.leave()
    assert not two.broken


def test_one_that_leaves_early_breaks_the_others_run():
    together = Together(2)
    one, two = together.seat(0), together.seat(1)
    one.warm(1)
    two.warm(2)
    one.measured(3)
    assert not one.broken
    two.leave()
    assert one.broken


def test_stop_ends_all():
    together = Together(3)
    together.stop()
    assert all(together.seat(k).broken for k in range(3))


def test_what_the_others_used_never_falls():
    together = Together(3)
    assert together.seat(0).beside_s() == 0.0
    for k, group in enumerate((Group(100.0), Group(1.0, 4.0, None), Group(2.0))):
        together.seat(k).enter(group)
    assert [together.seat(0).beside_s() for _ in range(4)] == [3.0, 6.0, 6.0, 6.0]  # a group that was removed keeps what it had
    assert together.seat(1).beside_s() == 102.0
