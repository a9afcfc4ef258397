"""ResNetV2: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016 (pre-activation bottlenecks, Fig. 4e).

Stages and block counts are those of Table 1 of "Deep Residual Learning for Image Recognition" (CVPR 2016). As in the widespread
implementations, the stride stands in the last block of a stage, and convolutions without a normalisation behind them have a bias.
BayesTuner's paper doesn't say which depth it ran, so the depth is a parameter.
"""

from __future__ import annotations

from bayestuner.zoo.builder import GraphBuilder, scaled, scaled_side
from bayestuner.zoo.graph import Graph, Tensor

# Table 1: bottlenecks in each of the four stages.
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet_v2(scale: float = 1.0, *, depth: int = 50) -> Graph:
    """ResNetV2 on 224 x 224 images.

    Parameters
    ----------
    scale : float
        Narrower and on smaller images where below 1.
    depth : {50, 101, 152}

    Returns
    -------
    Graph
    """
    g = GraphBuilder(f"resnet{depth}_v2")
    side = scaled_side(224, scale)
    x = g.conv(g.input("image", (3, side, side)), scaled(64, scale), 7, 2, 3, bias=True)
    x = g.max_pool(x, 3, 2, 1)
    for stage, repeats in enumerate(_BLOCKS[depth]):
        for i in range(repeats):
            shrink = i == repeats - 1 and stage < len(_BLOCKS[depth]) - 1
            x = _bottleneck(g, x, scaled(64, scale) << stage, stride=2 if shrink else 1, project=i == 0)
    g.classify(g.relu(g.batch_norm(x)), 1000)
    return g.finish()


def _bottleneck(g: GraphBuilder, x: Tensor, channels: int, *, stride: int, project: bool) -> Tensor:
    """Normalise and rectify first, then 1 x 1, 3 x 3, 1 x 1; the shortcut is clean but for the first block of a stage."""
    active = g.relu(g.batch_norm(x))
    shortcut = g.conv(active, 4 * channels, 1, stride, bias=True) if project else _thinned(g, x, stride)
    y = g.relu(g.batch_norm(g.conv(active, channels, 1)))
    y = g.relu(g.batch_norm(g.conv(y, channels, 3, stride, 1)))
    return g.add(shortcut, g.conv(y, 4 * channels, 1, bias=True, gain=0.5))


def _thinned(g: GraphBuilder, x: Tensor, stride: int) -> Tensor:
    """Every `stride`-th row and column."""
    return x if stride == 1 else g.max_pool(x, 1, stride, 0)
