"""A network as a graph: a plain description of operators, and of weights that are only named, shaped and given a distribution.

`bayestuner.zoo.builder` writes it down, `bayestuner.zoo.export` turns it into an ONNX file. Counting parameters and work needs neither onnx
nor memory for the weights, so the largest network is counted in milliseconds.

Shapes are per item, without the batch axis, which is symbolic and always first: an image is ``(3, 224, 224)``.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

BATCH_AXIS = "N"

Role = Literal["parameter", "statistic", "constant"]
InputKind = Literal["signal", "ids", "state"]


@dataclass(frozen=True)
class Tensor:
    """A value in the graph: its name, and its shape per item (no batch axis)."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """A tensor stored in the file, described but not allocated.

    Attributes
    ----------
    name : str
    shape : tuple of int
    role : {"parameter", "statistic", "constant"}
        A batch normalisation's moving mean and variance are statistics; index lists, clip limits and the like are constants.
    mean, std : float
        Normally distributed where ``std > 0``, else filled with `mean`. Ignored where `values` is given.
    values : tuple of float or None
        Explicit values, flat.
    dtype : {"float32", "int64"}
    """

    name: str
    shape: tuple[int, ...]
    role: Role = "parameter"
    mean: float = 0.0
    std: float = 0.0
    values: tuple[float, ...] | None = None
    dtype: Literal["float32", "int64"] = "float32"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator: ONNX name, input and output names, attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """What the net is fed.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Per item.
    kind : {"signal", "ids", "state"}
        Standard normal floats; integers from 0 to ``below - 1``; or zeros at first and the output `fed_by` of the last batch from then on.
    below : int
    fed_by : str or None
    """

    name: str
    shape: tuple[int, ...]
    kind: InputKind = "signal"
    below: int = 0
    fed_by: str | None = None

    @property
    def bytes_per_item(self) -> int:
        """Memory one item takes (float32, or int64 for ids)."""
        return math.prod(self.shape) * (8 if self.kind == "ids" else 4)


@dataclass(frozen=True)
class Graph:
    """A finished net: description only, a few hundred kilobytes even for the largest."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    weights: tuple[Weight, ...]
    macs_per_item: int
    seed: int = 0

    @property
    def parameters(self) -> int:
        """Number of parameters, moving statistics of batch normalisation included (Keras's "total params")."""
        return sum(w.size for w in self.weights if w.role != "constant")

    @property
    def statistics(self) -> int:
        """How many of `parameters` are moving means and variances, which PyTorch's counts leave out."""
        return sum(w.size for w in self.weights if w.role == "statistic")

    @property
    def weight_bytes(self) -> int:
        """Bytes all stored tensors take; the file is larger by its names, about two hundred bytes a node."""
        return sum(w.size * (8 if w.dtype == "int64" else 4) for w in self.weights)

    @property
    def bytes_per_item(self) -> int:
        """Memory the inputs of one item take."""
        return sum(i.bytes_per_item for i in self.inputs)

    def digest(self) -> str:
        """Hex digest of the whole description; two graphs with the same digest give the same file."""
        tensors = [(i.name, i.shape, i.kind) for i in self.inputs], [(t.name, t.shape) for t in self.outputs]
        nodes = [(n.op, n.inputs, n.outputs, sorted(n.attributes.items())) for n in self.nodes]
        weights = [(w.name, w.shape, w.role, w.mean, w.std, w.values, w.dtype) for w in self.weights]
        text = json.dumps([self.name, self.seed, tensors, nodes, weights])
        return hashlib.sha256(text.encode()).hexdigest()
