"""A small graph builder: shapes are tracked, parameters and multiply-accumulates are counted, nothing is allocated.

The function of a network's family (`bayestuner.zoo.mobilenet.mobilenet_v2`, ...) drives a `GraphBuilder` and returns a
`bayestuner.zoo.graph.Graph`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from bayestuner.zoo.graph import Graph, Input, InputKind, Node, Role, Tensor, Weight

Padding = Literal["same", "valid"] | int


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
