"""A small graph builder: shapes are tracked, parameters and multiply-accumulates are counted, nothing is allocated.

A family's function (`bayestuner.zoo.mobilenet.mobilenet_v2`, ...) drives a `GraphBuilder` and returns a `Graph`: a plain
description of nodes and of weights that are only named, shaped and given a distribution. `bayestuner.zoo.export` turns it into an ONNX
file; counting needs neither onnx nor memory for the weights, so the largest net is counted in milliseconds.

Shapes are per item, without the batch axis, which is symbolic and always first: an image is ``(3, 224, 224)``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

BATCH_AXIS = "N"

Padding = Literal["same", "valid"] | int
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


def scaled(channels: int, scale: float, multiple: int = 8) -> int:
    """`channels` made narrower: a multiple of `multiple`, never zero; untouched at scale 1."""
    if scale == 1.0:
        return channels
    return max(multiple, round(channels * scale / multiple) * multiple)


def scaled_side(side: int, scale: float, multiple: int = 32, least: int = 32) -> int:
    """An input's side made smaller: a multiple of `multiple`, at least `least`; untouched at scale 1."""
    if scale == 1.0:
        return side
    return max(least, round(side * scale / multiple) * multiple)


def _window(n: int, kernel: int, stride: int, pad: Padding) -> tuple[int, int, int]:
    """Output length and the padding before and after, for one axis; "same" pads as TensorFlow does, the odd one behind."""
    if pad == "same":
        out = -(-n // stride)
        total = max((out - 1) * stride + kernel - n, 0)
        return out, total // 2, total - total // 2
    p = 0 if pad == "valid" else pad
    return (n + 2 * p - kernel) // stride + 1, p, p


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class GraphBuilder:
    """Writes down a net, operator by operator; every method takes and returns `Tensor` handles.

    Parameters
    ----------
    name : str
    seed : int
        Of the weights.
    """

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self.seed = seed
        self.macs_per_item = 0
        self._inputs: list[Input] = []
        self._outputs: list[Tensor] = []
        self._nodes: list[Node] = []
        self._weights: list[Weight] = []
        self._shared: dict[tuple[Any, ...], str] = {}

    # ---- the ground: inputs, outputs, weights, any operator ----------------------------------------------------------------------

    def input(self, name: str, shape: Sequence[int], kind: InputKind = "signal", *, below: int = 0, fed_by: str | None = None) -> Tensor:
        """Declare an input; see `Input`."""
        self._inputs.append(Input(name, tuple(shape), kind, below, fed_by))
        return Tensor(name, tuple(shape))

    def output(self, x: Tensor, name: str) -> None:
        """Give `x` out under `name`."""
        self._nodes.append(Node("Identity", (x.name,), (name,)))
        self._outputs.append(Tensor(name, x.shape))

    def weight(self, shape: Sequence[int], *, mean: float = 0.0, std: float = 0.0, role: Role = "parameter") -> str:
        """Declare a stored tensor, random (``std > 0``) or constant; its name is returned."""
        name = f"w{len(self._weights)}"
        self._weights.append(Weight(name, tuple(shape), role, mean, std))
        return name

    def constant(self, values: float | Sequence[float], shape: Sequence[int] | None = None, *, integer: bool = False) -> str:
        """Declare a small constant that is no parameter (clip limits, axes, a mask); equal ones are stored once."""
        flat = tuple(values) if isinstance(values, Sequence) else (values,)
        if shape is None:
            shape = (len(flat),) if isinstance(values, Sequence) else ()
        key = (flat, tuple(shape), integer)
        if key not in self._shared:
            self._shared[key] = f"k{len(self._shared)}"
            dtype: Literal["float32", "int64"] = "int64" if integer else "float32"
            self._weights.append(Weight(self._shared[key], tuple(shape), "constant", values=flat, dtype=dtype))
        return self._shared[key]

    def node(self, op: str, inputs: Sequence[Tensor | str], shape: Sequence[int], **attributes: Any) -> Tensor:
        """Add any ONNX operator with one output of per-item shape `shape`."""
        return self.split_node(op, inputs, [shape], **attributes)[0]

    def split_node(self, op: str, inputs: Sequence[Tensor | str], shapes: Sequence[Sequence[int]], **attributes: Any) -> list[Tensor]:
        """Add any ONNX operator with several outputs."""
        names = tuple(i if isinstance(i, str) else i.name for i in inputs)
        outs = [Tensor(f"t{len(self._nodes)}" + (f"_{j}" if j else ""), tuple(shape)) for j, shape in enumerate(shapes)]
        self._nodes.append(Node(op, names, tuple(o.name for o in outs), attributes))
        return outs

    def finish(self) -> Graph:
        """The finished description."""
        return Graph(
            self.name, tuple(self._inputs), tuple(self._outputs), tuple(self._nodes), tuple(self._weights), self.macs_per_item, self.seed
        )

    # ---- layers ------------------------------------------------------------------------------------------------------------------

    def conv(
        self,
        x: Tensor,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        pad: Padding = "same",
        *,
        groups: int = 1,
        bias: bool = False,
        gain: float = 2.0,
    ) -> Tensor:
        """Add a 2-D convolution of ``x (C, H, W)``.

        Parameters
        ----------
        pad : {"same", "valid"} or int
            As TensorFlow names them, or that many rows and columns all round.
        gain : float
            Weights have variance ``gain / fan_in``: 2 keeps the variance behind a ReLU (He), 1 behind a linear layer; smaller values damp a
            residual branch so that a deep stack of them stays finite.
        """
        (kh, kw), (sh, sw) = _pair(kernel), _pair(stride)
        c_in, height, width = x.shape
        out_h, top, bottom = _window(height, kh, sh, pad)
        out_w, left, right = _window(width, kw, sw, pad)
        fan_in = c_in // groups * kh * kw
        inputs: list[Tensor | str] = [x, self.weight((channels, c_in // groups, kh, kw), std=math.sqrt(gain / fan_in))]
        if bias:
            inputs.append(self.weight((channels,)))
        self.macs_per_item += channels * out_h * out_w * fan_in
        window = {"kernel_shape": [kh, kw], "strides": [sh, sw], "pads": [top, left, bottom, right], "group": groups}
        return self.node("Conv", inputs, (channels, out_h, out_w), **window)

    def conv_transpose(self, x: Tensor, channels: int, kernel: int = 4, stride: int = 2) -> Tensor:
        """Add a transposed convolution with a bias that enlarges ``x (C, H, W)`` by `stride`."""
        c_in, height, width = x.shape
        fan_in = c_in * (kernel // stride) ** 2
        w = self.weight((c_in, channels, kernel, kernel), std=math.sqrt(2.0 / fan_in))
        self.macs_per_item += c_in * channels * kernel * kernel * height * width
        p = (kernel - stride) // 2
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [p] * 4}
        return self.node("ConvTranspose", [x, w, self.weight((channels,))], (channels, height * stride, width * stride), **window)

    def batch_norm(self, x: Tensor, *, scale: bool = True) -> Tensor:
        """Add batch normalisation over the channels, as it is after training; ``scale=False`` where the net learns no scale (gamma)."""
        shape = (x.shape[0],)
        gamma = self.weight(shape, mean=1.0, role="parameter" if scale else "constant")
        beta = self.weight(shape)
        moving = [self.weight(shape, role="statistic"), self.weight(shape, mean=1.0, role="statistic")]
        return self.node("BatchNormalization", [x, gamma, beta, *moving], x.shape, epsilon=1e-3)

    def dense(self, x: Tensor, units: int) -> Tensor:
        """Add a fully connected layer with a bias over ``x (features,)``."""
        (features,) = x.shape
        self.macs_per_item += units * features
        w = self.weight((units, features), std=math.sqrt(1.0 / features))
        return self.node("Gemm", [x, w, self.weight((units,))], (units,), transB=1)

    def relu(self, x: Tensor) -> Tensor:
        """Add ``max(x, 0)``."""
        return self.node("Relu", [x], x.shape)

    def leaky_relu(self, x: Tensor, slope: float = 0.1) -> Tensor:
        """Add ``x`` where positive, ``slope * x`` elsewhere."""
        return self.node("LeakyRelu", [x], x.shape, alpha=slope)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        """Add ``min(max(x, low), high)``; ReLU6 is ``clip(x, 0, 6)``."""
        return self.node("Clip", [x, self.constant(low), self.constant(high)], x.shape)

    def max_pool(self, x: Tensor, kernel: int, stride: int, pad: Padding = "same") -> Tensor:
        """Add max pooling."""
        return self._pool("MaxPool", x, kernel, stride, pad)

    def average_pool(self, x: Tensor, kernel: int, stride: int, pad: Padding = "same") -> Tensor:
        """Add average pooling; padding doesn't count."""
        return self._pool("AveragePool", x, kernel, stride, pad)

    def _pool(self, op: str, x: Tensor, kernel: int, stride: int, pad: Padding) -> Tensor:
        channels, height, width = x.shape
        out_h, top, bottom = _window(height, kernel, stride, pad)
        out_w, left, right = _window(width, kernel, stride, pad)
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [top, left, bottom, right]}
        return self.node(op, [x], (channels, out_h, out_w), **window)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Add two tensors of one shape."""
        if a.shape != b.shape:
            raise ValueError(f"can't add tensors of the shapes {a.shape} and {b.shape} in {self.name}")
        return self.node("Add", [a, b], a.shape)

    def concat(self, tensors: Sequence[Tensor]) -> Tensor:
        """Join along the channels."""
        rest = {t.shape[1:] for t in tensors}
        if len(rest) != 1:
            raise ValueError(f"can't join tensors of the shapes {[t.shape for t in tensors]} in {self.name}")
        return self.node("Concat", tensors, (sum(t.shape[0] for t in tensors), *tensors[0].shape[1:]), axis=1)

    def flatten(self, x: Tensor) -> Tensor:
        """Make ``x`` one row of features."""
        return self.node("Flatten", [x], (math.prod(x.shape),), axis=1)

    def resize(self, x: Tensor, side: int) -> Tensor:
        """Resize ``x (C, H, H)`` bilinearly to ``(C, side, side)``, as TensorFlow 1 does (corners not aligned)."""
        channels, height, _ = x.shape
        if height == side:
            return x
        factors = self.constant([1.0, 1.0, side / height, side / height])
        mode = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
        return self.node("Resize", [x, "", factors], (channels, side, side), **mode)

    def classify(self, x: Tensor, classes: int) -> None:
        """Finish an image classifier: global average pool, dense layer, softmax, output ``probabilities``."""
        pooled = self.flatten(self.node("GlobalAveragePool", [x], (x.shape[0], 1, 1)))
        self.output(self.node("Softmax", [self.dense(pooled, classes)], (classes,), axis=1), "probabilities")
