"""What a name on the command line is: one of the paper's jobs, or several that share its server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bayestuner.errors import InvalidSpace
from bayestuner.simulate.colocation import SimulatedColocation, shared_space
from bayestuner.simulate.platform import SimulatedJob, large_space, small_space
from bayestuner.simulate.profiles import profile
from bayestuner.simulate.runs import SimulatedRuns
from bayestuner.space import Space


def simulation(name: str, size: str | None = None) -> tuple[Callable[..., SimulatedRuns], Space]:
    """What makes the simulation, given a space, and its space.

    Parameters
    ----------
    name : str
        As ``mobilenet_v2``, or ``text_cnn+mobilenet_v2`` for jobs that share the server.
    size : {"large", "small"}, optional
        Of one job's space.

    Raises
    ------
    InvalidSpace
        For an unknown job, or a size where jobs share.
    """
    names = tuple(part.strip() for part in name.split("+"))
    if len(names) == 1:
        return partial(SimulatedJob, name), small_space() if size == "small" else large_space()
    if size is not None:
        raise InvalidSpace(f"the space of jobs that share the server has one size; leave {size!r} out")
    for part in names:
        profile(part)
    return partial(SimulatedColocation, names), shared_space(names)
