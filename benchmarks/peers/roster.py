"""Which peers there are, where their environments stand, and what a peer's process may see of ours."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OURS = "bayestuner"
OURS_IN_OPTUNA = "optuna_bayestuner"  # our engine as a sampler of Optuna
THREAD_LIMITS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "RAYON", "NUMBA")


@dataclass(frozen=True, slots=True)
class Peer:
    """One tuner.

    Attributes
    ----------
    venv : str
        Its environment, and the name of its requirements file; empty for what runs in the present interpreter.
    adapter : str
        File in `adapters`, without ``.py``.
    """

    venv: str
    adapter: str


# in the order they are run: most worth knowing first
PEERS = {
    "botorch": Peer("botorch", "botorch"),
    "egobox": Peer("egobox", "egobox"),
    "optuna_gp": Peer("optuna_gp", "optuna"),
    "ax": Peer("ax", "ax"),
    "smac_bb": Peer("smac", "smac"),
    "skopt": Peer("skopt", "skopt"),
    "hebo": Peer("hebo", "hebo"),
    "kernel_tuner": Peer("kernel_tuner", "kernel_tuner"),
    "bayes_opt": Peer("bayes_opt", "bayes_opt"),
    "optuna_tpe": Peer("optuna_tpe", "optuna"),
    "smac_hpo": Peer("smac", "smac"),
    "annealing": Peer("", "annealing"),
}
VARIANTS = {"botorch_mixed": Peer("botorch", "botorch"), OURS: Peer("", "bayestuner"), OURS_IN_OPTUNA: Peer("", "optuna")}
VENVS = (*dict.fromkeys(p.venv for p in PEERS.values() if p.venv), OURS)
# what models the constraint by a Gaussian process, as ours does
CONSTRAINED_GP = ("botorch", "egobox", "optuna_gp", "ax", "bayes_opt")


def find(name: str) -> Peer:
    """The peer, or variant of one, of this name."""
    return PEERS.get(name) or VARIANTS[name]


def default_venvs() -> Path:
    """Folder of the peers' environments unless one is given: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bayestuner" / "peers"


def chosen(names: str) -> list[str]:
    """Split ``a,b`` into peers; an empty text is all of them."""
    asked = names.split(",") if names else list(PEERS)
    for name in asked:
        if name not in PEERS and name not in VARIANTS:
            raise SystemExit(f"there is no peer {name!r}; there are {', '.join([*PEERS, *VARIANTS])}")
    return asked


def environment(name: str = "") -> dict[str, str]:
    """Variables of a peer's process: one thread, hashing fixed so that a run can be repeated, and only for ours a path to this checkout."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    limits = {f"{pool}_NUM_THREADS": "1" for pool in THREAD_LIMITS} | {"LOKY_MAX_CPU_COUNT": "1"}
    return kept | limits | {"PYTHONHASHSEED": "0"} | ({"PYTHONPATH": str(ROOT)} if name in (OURS, OURS_IN_OPTUNA) else {})


def installed(name: str, venvs: Path) -> bool:
    """Whether the peer's interpreter is there."""
    return Path(command(name, venvs)[0]).exists()


def command(name: str, venvs: Path) -> list[str]:
    """Command line of a peer's process; ``-P`` because an adapter's folder holds a ``botorch.py`` that is not BoTorch."""
    peer = find(name)
    python = str(venvs / peer.venv / "bin" / "python") if peer.venv else sys.executable
    return [python, "-P", str(HERE / "host.py"), str(HERE / "adapters" / f"{peer.adapter}.py"), name]
