"""From a name on the command line to a simulation: of one of the paper's jobs, or of several that share its server."""

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
    """Return a function that makes the simulation of a space, and that space.

    Parameters
    ----------
    name : str
        A job, such as ``mobilenet_v2``, or several that share the server, such as ``text_cnn+mobilenet_v2``.
    size : {"large", "small"}, optional
        Size of the space of a single job.

    Raises
    ------
    InvalidSpace
        The job is unknown, or a size is given for jobs that share the server.
    """
    names = tuple(part.strip() for part in name.split("+"))
    if len(names) == 1:
        return partial(SimulatedJob, name), small_space() if size == "small" else large_space()
    if size is not None:
        raise InvalidSpace(f"the space of jobs that share the server has one size; leave {size!r} out")
    for part in names:
        profile(part)
    return partial(SimulatedColocation, names), shared_space(names)
