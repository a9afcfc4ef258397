"""NASNet-A Large: Zoph, Vasudevan, Shlens, Le, "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018.

NASNet-A (6 @ 4032): cells of Fig. 4, stacked as in Fig. 2 (ImageNet) with N = 6, 4032 filters before the classifier, 331 x 331 images
(Table 2).
"""

from __future__ import annotations

from bayestuner.zoo.builder import GraphBuilder, scaled, scaled_side
from bayestuner.zoo.cells import match, separable_twice, squeeze
from bayestuner.zoo.graph import Graph, Tensor

_REPEATS = 6
_FILTERS = 4032 // 24  # a normal cell joins six tensors, and the filters double twice


def nasnet_large(scale: float = 1.0) -> Graph:
    """NASNet-A (6 @ 4032) on 331 x 331 images, without the auxiliary classifier.

    Parameters
    ----------
    scale : float
        Narrower and on smaller images where below 1.

    Returns
    -------
    Graph
    """
    g = GraphBuilder("nasnet_large")
    side = scaled_side(331, scale, 32, 64)
    filters = scaled(_FILTERS, scale)
    x = g.batch_norm(g.conv(g.input("image", (3, side, side)), scaled(96, scale), 3, 2, "valid"))
    previous: Tensor | None = None
    for narrower in (4, 2):
        x, previous = _reduction_cell(g, x, previous, filters // narrower), x
    for stage in range(3):
        if stage:
            x = _reduction_cell(g, x, previous, filters << stage)  # the cell before keeps its `previous` (skip_reduction of the release)
        for _ in range(_REPEATS):
            x, previous = _normal_cell(g, x, previous, filters << stage), x
    g.classify(g.relu(x), 1000)
    return g.finish()


def _inputs(g: GraphBuilder, x: Tensor, previous: Tensor | None, channels: int) -> tuple[Tensor, Tensor]:
    """The two hidden states a cell combines: the cell before last made to match, and the last one squeezed."""
    return (x if previous is None else match(g, previous, x, channels)), squeeze(g, x, channels)


def _normal_cell(g: GraphBuilder, x: Tensor, previous: Tensor | None, channels: int) -> Tensor:
    p, h = _inputs(g, x, previous, channels)
    blocks = [
        g.add(separable_twice(g, h, channels, 5), separable_twice(g, p, channels, 3)),
        g.add(separable_twice(g, p, channels, 5), separable_twice(g, p, channels, 3)),
        g.add(g.average_pool(h, 3, 1), p),
        g.add(g.average_pool(p, 3, 1), g.average_pool(p, 3, 1)),
        g.add(separable_twice(g, h, channels, 3), h),
    ]
    return g.concat([p, *blocks])


def _reduction_cell(g: GraphBuilder, x: Tensor, previous: Tensor | None, channels: int) -> Tensor:
    p, h = _inputs(g, x, previous, channels)
    first = g.add(separable_twice(g, h, channels, 5, 2), separable_twice(g, p, channels, 7, 2))
    second = g.add(g.max_pool(h, 3, 2), separable_twice(g, p, channels, 7, 2))
    third = g.add(g.average_pool(h, 3, 2), separable_twice(g, p, channels, 5, 2))
    fourth = g.add(second, g.average_pool(first, 3, 1))
    fifth = g.add(separable_twice(g, first, channels, 3), g.max_pool(h, 3, 2))
    return g.concat([second, third, fourth, fifth])
