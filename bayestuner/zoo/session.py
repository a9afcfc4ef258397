"""An onnxruntime session that stays inside the cores it was granted.

By default onnxruntime starts a thread for each core of the machine and pins each to one, regardless of affinity masks and cpusets (under
``taskset -c 0`` there is a worker on CPU 1), and its idle threads spin, which costs power. With an explicit number of threads it pins none,
and they inherit the mask.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayestuner.errors import MissingExtra

if TYPE_CHECKING:
    import onnxruntime

_ERRORS_ONLY = 3


def import_onnxruntime() -> Any:
    """The onnxruntime module; raises `MissingExtra`, naming the extra, where it isn't installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(
            f"running a zoo model needs the package onnxruntime, which can't be imported ({error}); "
            "install it with: pip install 'bayestuner[zoo]'"
        ) from error
    return onnxruntime


def failures() -> tuple[type[Exception], ...]:
    """Every class of exception that onnxruntime defines."""
    state = import_onnxruntime().capi.onnxruntime_pybind11_state
    kinds = (getattr(state, name) for name in dir(state))
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


def unreadable() -> tuple[type[Exception], ...]:
    """Those of `failures` that say a model's file is damaged."""
    return tuple(kind for kind in failures() if kind.__name__ in ("Fail", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NoModel"))


def granted_cores(environ: Mapping[str, str] = os.environ) -> int:
    """Number of cores this process may use.

    Those of its affinity mask, which a cpuset narrows too (``os.cpu_count()`` doesn't see either), and no more than BAYESTUNER_CORES
    where that is set.
    """
    cores = len(os.sched_getaffinity(0))
    asked = environ.get("BAYESTUNER_CORES", "")
    return max(1, min(cores, int(asked))) if asked.isdigit() else cores


def open_session(path: Path, *, threads: int, spin: bool = False, arena: bool = True) -> onnxruntime.InferenceSession:
    """Load a model.

    Parameters
    ----------
    path : Path
    threads : int
        Threads inside an operator, the calling one included; operators run one after the other.
    spin : bool
        Let idle threads spin while they wait for work: latency is a little lower on free cores, power is higher, and on shared cores
        throughput collapses.
    arena : bool
        Keep freed memory for the next batch; without that a run needs less memory and allocates more often.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    MissingExtra
        onnxruntime isn't installed.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = arena
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
