"""PNASNet-5 Large: Liu, Zoph, Neumann, Shlens et al., "Progressive Neural Architecture Search" (ECCV 2018).

The cell of Fig. 1 (left), N = 4, F = 216, 331 x 331 images (Table 5). As in the released model the first cell of stages two and three
stands for one of the N, and the very first cell sees the stem twice.
"""

from __future__ import annotations

from bayestuner.zoo.builder import GraphBuilder, scaled, scaled_side
from bayestuner.zoo.cells import match, separable_twice, squeeze
from bayestuner.zoo.graph import Graph, Tensor

_FILTERS = 216
_NORMAL_CELLS = (4, 3, 3)


def pnasnet5_large(scale: float = 1.0) -> Graph:
    """PNASNet-5 Large on 331 x 331 images, without the auxiliary classifier.

    Parameters
    ----------
    scale : float
        Narrower and on smaller images where below 1.

    Returns
    -------
    Graph
    """
    g = GraphBuilder("pnasnet5_large")
    side = scaled_side(331, scale, 32, 64)
    filters = scaled(_FILTERS, scale)
    stem = g.batch_norm(g.conv(g.input("image", (3, side, side)), scaled(96, scale), 3, 2, "valid"))
    x, previous = _cell(g, stem, None, filters // 4, 2), stem
    x, previous = _cell(g, x, previous, filters // 2, 2), x
    for stage, repeats in enumerate(_NORMAL_CELLS):
        if stage:
            x, previous = _cell(g, x, previous, filters << stage, 2), x
        for _ in range(repeats):
            x, previous = _cell(g, x, previous, filters << stage, 1), x
    g.classify(g.relu(x), 1000)
    return g.finish()


def _cell(g: GraphBuilder, x: Tensor, previous: Tensor | None, channels: int, stride: int) -> Tensor:
    """Five sums of two operations each, joined; without a `previous` (first cell) the unsqueezed input takes its place."""
    left = x if previous is None else match(g, previous, x, channels)
    right = squeeze(g, x, channels)
    pooled = g.max_pool(left, 3, stride)
    if previous is None:
        pooled = g.batch_norm(g.conv(pooled, channels, 1, gain=1.0))
    first = g.add(separable_twice(g, left, channels, 5, stride), pooled)
    second = g.add(separable_twice(g, right, channels, 7, stride), g.max_pool(right, 3, stride))
    third = g.add(separable_twice(g, right, channels, 5, stride), separable_twice(g, right, channels, 3, stride))
    fourth = g.add(separable_twice(g, third, channels, 3), g.max_pool(right, 3, stride))
    kept = right if stride == 1 else squeeze(g, right, channels, stride)
    fifth = g.add(separable_twice(g, left, channels, 3, stride), kept)
    return g.concat([first, second, third, fourth, fifth])
