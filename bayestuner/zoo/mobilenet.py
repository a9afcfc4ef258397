"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, Table 2."""

from __future__ import annotations

from bayestuner.zoo.builder import GraphBuilder, scaled, scaled_side
from bayestuner.zoo.graph import Graph, Tensor

# Table 2 of the paper: expansion t, channels c, repeats n, stride s of the first of them.
_BOTTLENECKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2(scale: float = 1.0) -> Graph:
    """MobileNetV2 with width multiplier 1.0 on 224 x 224 images.

    Parameters
    ----------
    scale : float
        Narrower and on smaller images where below 1.

    Returns
    -------
    Graph
    """
    g = GraphBuilder("mobilenet_v2")
    side = scaled_side(224, scale)
    x = _conv_bn_relu6(g, g.input("image", (3, side, side)), scaled(32, scale), 3, stride=2)
    for expansion, channels, repeats, first_stride in _BOTTLENECKS:
        for i in range(repeats):
            x = _bottleneck(g, x, expansion, scaled(channels, scale), first_stride if i == 0 else 1)
    g.classify(_conv_bn_relu6(g, x, scaled(1280, scale), 1), 1000)
    return g.finish()


def _conv_bn_relu6(g: GraphBuilder, x: Tensor, channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> Tensor:
    return g.clip(g.batch_norm(g.conv(x, channels, kernel, stride, groups=groups)), 0.0, 6.0)


def _bottleneck(g: GraphBuilder, x: Tensor, expansion: int, channels: int, stride: int) -> Tensor:
    """Expand, filter depthwise, project linearly (the paper's Table 1); a shortcut where the shapes allow one."""
    wide = x.shape[0] * expansion
    y = x if expansion == 1 else _conv_bn_relu6(g, x, wide, 1)
    y = _conv_bn_relu6(g, y, wide, 3, stride=stride, groups=wide)
    y = g.batch_norm(g.conv(y, channels, 1))
    return g.add(x, y) if stride == 1 and x.shape == y.shape else y
