"""Parts that NASNet and PNASNet share: both were searched over cells of the same kind of operations."""

from __future__ import annotations

from bayestuner.zoo.builder import GraphBuilder
from bayestuner.zoo.graph import Tensor


def separable_twice(g: GraphBuilder, x: Tensor, channels: int, kernel: int, stride: int = 1) -> Tensor:
    """ReLU, depthwise and pointwise convolution, normalisation: applied twice, the stride in the first (NASNet, Section 3.1)."""
    for s in (stride, 1):
        depthwise = g.conv(g.relu(x), x.shape[0], kernel, s, groups=x.shape[0])
        x = g.batch_norm(g.conv(depthwise, channels, 1, gain=0.5))
    return x


def squeeze(g: GraphBuilder, x: Tensor, channels: int, stride: int = 1) -> Tensor:
    """ReLU, 1 x 1 convolution, normalisation."""
    return g.batch_norm(g.conv(g.relu(x), channels, 1, stride, gain=1.0))


def match(g: GraphBuilder, previous: Tensor, current: Tensor, channels: int) -> Tensor:
    """Bring the cell before last to the size of the last one and to `channels`."""
    if previous.shape[1] != current.shape[1]:
        return _factorised_reduction(g, previous, channels)
    return squeeze(g, previous, channels) if previous.shape[0] != channels else previous


def _factorised_reduction(g: GraphBuilder, x: Tensor, channels: int) -> Tensor:
    """Halve the side by two interleaved samplings, the second one row and column further, each with its own 1 x 1 convolution."""
    x = g.relu(x)
    n, side, _ = x.shape
    out = (side + 1) // 2
    halves = []
    for offset, width in ((0, channels // 2), (1, channels - channels // 2)):
        seen = (side - offset + 1) // 2
        bounds = [g.constant(v, integer=True) for v in ([offset] * 2, [side] * 2, [2, 3], [2, 2])]
        y = g.node("Slice", [x, *bounds], (n, seen, seen))
        if seen < out:  # an odd side: the shifted sampling lacks a last row and column
            y = g.node("Pad", [y, g.constant([0, 0, 0, 0, 0, 0, 1, 1], integer=True)], (n, out, out))
        halves.append(g.conv(y, width, 1, gain=1.0))
    return g.batch_norm(g.concat(halves))
