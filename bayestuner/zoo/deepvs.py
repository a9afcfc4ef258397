"""DeepVS: Jiang, Xu, Liu, Qiao, Wang, "DeepVS: A Deep Learning Based Video Saliency Prediction Approach", ECCV 2018 (OM-CNN and 2C-LSTM).

Exact in its weights, an approximation in how it is driven. OM-CNN (an objectness subnet after tiny YOLO, a motion subnet after FlowNet
masked by the coarse saliency of the first) and a two-layer convolutional LSTM have the layers, and so the parameter count, of the authors'
released model. The release predicts a clip of sixteen frames from a zero state; here one item is one frame of a stream together with the
frame five later, and the LSTM's state goes in and out, so that a job is counted in frames per second as BayesTuner's Table 1 does.
Monte-Carlo dropout masks, which are ones at inference, are left out.
"""

from __future__ import annotations

import math

from bayestuner.zoo.builder import GraphBuilder, scaled, scaled_side
from bayestuner.zoo.graph import Graph, Tensor

_STATE_CHANNELS = 128
# FlowNet's contracting part: channels, kernel, stride; whether the saliency mask is applied behind it; whether it is a source of features.
_MOTION = (
    (64, 7, 2, True, False),
    (128, 5, 2, True, False),
    (256, 5, 2, True, False),
    (256, 3, 1, True, True),
    (512, 3, 2, True, False),
    (512, 3, 1, False, True),
    (512, 3, 2, False, False),
    (512, 3, 1, False, True),
    (1024, 3, 2, False, False),
    (1024, 3, 1, False, True),
)


def deepvs(scale: float = 1.0) -> Graph:
    """One step of DeepVS on 448 x 448 frames.

    Parameters
    ----------
    scale : float
        Narrower and on smaller frames where below 1.

    Returns
    -------
    Graph
        Inputs ``frame``, ``later_frame`` and the states ``h1, c1, h2, c2``; outputs ``saliency`` (1, 112, 112) and the next states.
    """
    net = _DeepVS(scale)
    net.step()
    return net.g.finish()


class _DeepVS:
    def __init__(self, scale: float) -> None:
        self.g = GraphBuilder("deepvs")
        self.scale = scale
        self.side = scaled_side(448, scale, 64, 64)
        self.grid = self.side // 16  # features of all subnets meet on this grid (28 x 28)

    def unit(self, x: Tensor, channels: int, kernel: int, stride: int = 1, *, norm: bool = False) -> Tensor:
        """Convolution with a bias, perhaps normalisation, leaky ReLU."""
        y = self.g.conv(x, scaled(channels, self.scale), kernel, stride, kernel // 2, bias=True)
        return self.g.leaky_relu(self.g.batch_norm(y) if norm else y)

    def step(self) -> None:
        g = self.g
        frame, later = (g.input(name, (3, self.side, self.side)) for name in ("frame", "later_frame"))
        objects = self.objectness(frame)
        coarse = self.unit(self.unit(self.unit(self.unit(objects, 512, 3), 256, 1), 128, 3), 128, 1)
        motion = self.motion(g.concat([frame, later]), self.mask(self.enlarge(coarse)))
        x = g.concat([objects, motion])
        for channels, kernel in ((512, 3), (512, 1), (256, 3), (_STATE_CHANNELS, 1)):
            x = self.unit(x, channels, kernel)
        for layer in (1, 2):
            x = self.conv_lstm(x, layer)
        g.output(self.unit_range(self.enlarge(x)), "saliency")

    def objectness(self, x: Tensor) -> Tensor:
        """Tiny YOLO; four of its layers and its grid of predictions, resized to one grid and weighted towards the centre."""
        g = self.g
        taps = []
        for channels in (16, 32, 64, 128, 256, 512):
            x = self.unit(x, channels, 3, norm=True)
            if channels >= 128:
                taps.append(x)
            x = g.max_pool(x, 2, 2)
        for _ in range(3):
            x = self.unit(x, 1024, 3)
        cell, side = 30, self.side // 64
        y = g.leaky_relu(g.dense(g.flatten(x), scaled(256, self.scale)))
        y = g.leaky_relu(g.dense(y, scaled(4096, self.scale)))
        y = g.dense(y, cell * side * side)
        predictions = g.node("Reshape", [y, g.constant([-1, cell, side, side], integer=True)], (cell, side, side))
        maps = [taps[0], *(self.unit(t, 128, 1) for t in (taps[1], taps[2], x)), predictions]
        joined = g.concat([g.resize(m, self.grid) for m in maps])
        return g.node("Mul", [joined, self.centre_weights()], joined.shape)

    def centre_weights(self) -> str:
        """1 in the middle of the grid, 0 in the farthest corner, linear in the distance."""
        n, middle = self.grid, self.grid // 2
        distance = [math.hypot(row - middle, column - middle) for row in range(n) for column in range(n)]
        return self.g.constant([1.0 - d / max(distance) for d in distance], (1, 1, n, n))

    def motion(self, x: Tensor, mask: Tensor) -> Tensor:
        """FlowNet's contracting part on two frames; four of its layers, made 128 channels each, on the common grid."""
        g = self.g
        features = []
        for channels, kernel, stride, masked, used in _MOTION:
            x = self.unit(x, channels, kernel, stride)
            if masked:
                x = g.node("Mul", [x, g.resize(mask, x.shape[1])], x.shape)
            if used:
                features.append(x)
        return g.concat([g.resize(self.unit(f, 128, 3), self.grid) for f in reversed(features)])

    def enlarge(self, x: Tensor) -> Tensor:
        """Two transposed convolutions: one map, four times as large."""
        return self.g.conv_transpose(self.g.leaky_relu(self.g.conv_transpose(x, 16)), 1)

    def unit_range(self, x: Tensor) -> Tensor:
        """Stretch each item's map to 0..1."""
        g = self.g
        over = {"axes": [2, 3], "keepdims": 1}
        x = g.node("Sub", [x, g.node("ReduceMin", [x], (1, 1, 1), **over)], x.shape)
        largest = g.node("Add", [g.node("ReduceMax", [x], (1, 1, 1), **over), g.constant(1e-7)], (1, 1, 1))
        return g.node("Div", [x, largest], x.shape)

    def mask(self, coarse: Tensor) -> Tensor:
        """The coarse saliency as a mask from 0.5 to 1."""
        g = self.g
        half = g.node("Mul", [self.unit_range(coarse), g.constant(0.5)], coarse.shape)
        return g.node("Add", [half, g.constant(0.5)], coarse.shape)

    def conv_lstm(self, x: Tensor, layer: int) -> Tensor:
        """One step of a convolutional LSTM, forget bias 1; the four gates' convolutions are done as one."""
        g = self.g
        n = scaled(_STATE_CHANNELS, self.scale)
        shape = (n, self.grid, self.grid)
        h = g.input(f"h{layer}", shape, "state", fed_by=f"next_h{layer}")
        c = g.input(f"c{layer}", shape, "state", fed_by=f"next_c{layer}")
        gates = g.add(g.conv(x, 4 * n, 3, bias=True, gain=1.0), g.conv(h, 4 * n, 3, gain=1.0))
        i, j, f, o = g.split_node("Split", [gates, g.constant([n] * 4, integer=True)], [shape] * 4, axis=1)
        keep = g.node("Sigmoid", [g.node("Add", [f, g.constant(1.0)], shape)], shape)
        new = g.node("Mul", [g.node("Sigmoid", [i], shape), g.node("Tanh", [j], shape)], shape)
        c = g.add(g.node("Mul", [c, keep], shape), new)
        h = g.node("Mul", [g.node("Tanh", [c], shape), g.node("Sigmoid", [o], shape)], shape)
        g.output(h, f"next_h{layer}")
        g.output(c, f"next_c{layer}")
        return h
