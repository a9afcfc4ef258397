"""What a network is fed: random batches that are made once, so that a test run measures inference and nothing else."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.errors import BayesTunerError
from bayestuner.zoo.graph import Graph

Feeds = dict[str, npt.NDArray[Any]]

_MOST_BATCHES = 8
_BATCHES_BYTES = 4 << 20  # several batches, so that caches meet new data, but little memory


def make_batches(graph: Graph, batch_size: int, seed: int = 0) -> list[Feeds]:
    """A few batches, as many as fit in 4 MiB (at least one, at most eight), to be used in turn.

    Parameters
    ----------
    graph : Graph
    batch_size : int
        Items per batch, at least 1.
    seed : int

    Raises
    ------
    BayesTunerError
        `batch_size` is below 1, or its input alone is more than the machine's memory.
    """
    check_batch_size(graph, batch_size)
    rng = np.random.default_rng(seed)
    bytes_per_batch = batch_size * graph.bytes_per_item
    count = min(_MOST_BATCHES, max(1, _BATCHES_BYTES // bytes_per_batch))
    return [_one_batch(graph, batch_size, rng) for _ in range(count)]


def check_batch_size(graph: Graph, batch_size: int) -> None:
    """Raise `BayesTunerError` where a batch of this size makes no sense on this machine."""
    if batch_size < 1:
        raise BayesTunerError(f"a batch holds at least 1 item, not {batch_size}; give --batch a whole number from 1 up")
    needed, there = batch_size * graph.bytes_per_item, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise BayesTunerError(
            f"a batch of {batch_size} items of {graph.name} takes {needed / 2**30:,.1f} GiB for its input alone, but this machine has "
            f"{there / 2**30:,.1f} GiB; give a smaller --batch"
        )


def _one_batch(graph: Graph, batch_size: int, rng: np.random.Generator) -> Feeds:
    feeds: Feeds = {}
    for needed in graph.inputs:
        shape = (batch_size, *needed.shape)
        if needed.kind == "ids":
            feeds[needed.name] = rng.integers(0, needed.below, shape, dtype=np.int64)
        elif needed.kind == "state":
            feeds[needed.name] = np.zeros(shape, dtype=np.float32)
        else:
            feeds[needed.name] = rng.standard_normal(shape, dtype=np.float32)
    return feeds


def carried(graph: Graph) -> dict[str, str]:
    """Name of each output that is fed to the next batch -> name of the input it is fed to."""
    return {i.fed_by: i.name for i in graph.inputs if i.fed_by is not None}
