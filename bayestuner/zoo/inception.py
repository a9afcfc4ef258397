"""InceptionV3: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, Table 1.

The widths inside the blocks (Figs. 5 to 7 of the paper leave them out) are those of the released model, whose batch normalisations learn no
scale.
"""

from __future__ import annotations

from functools import partial

from bayestuner.zoo.builder import GraphBuilder, Padding, scaled, scaled_side
from bayestuner.zoo.graph import Graph, Tensor


def inception_v3(scale: float = 1.0) -> Graph:
    """InceptionV3 on 299 x 299 images, without the auxiliary classifier.

    Parameters
    ----------
    scale : float
        Narrower and on smaller images where below 1.

    Returns
    -------
    Graph
    """
    net = _Inception(scale)
    net.g.classify(net.body(), 1000)
    return net.g.finish()


class _Inception:
    """The blocks; they share the builder and the width."""

    def __init__(self, scale: float) -> None:
        self.g = GraphBuilder("inception_v3")
        self.scale = scale

    def unit(self, x: Tensor, channels: int, kernel: int | tuple[int, int], stride: int = 1, pad: Padding = "same") -> Tensor:
        """Convolution, normalisation, ReLU."""
        g = self.g
        return g.relu(g.batch_norm(g.conv(x, scaled(channels, self.scale), kernel, stride, pad), scale=False))

    def chain(self, x: Tensor, *units: tuple[int, int | tuple[int, int]]) -> Tensor:
        """Units one behind the other, each ``(channels, kernel)``."""
        for channels, kernel in units:
            x = self.unit(x, channels, kernel)
        return x

    def body(self) -> Tensor:
        side = scaled_side(299, self.scale, 1, 75)  # below 75 the unpadded layers leave nothing
        x = self.stem(self.g.input("image", (3, side, side)))
        for pool_channels in (32, 64, 64):
            x = self.block_35(x, pool_channels)
        x = self.reduce_35(x)
        for inner in (128, 160, 160, 192):
            x = self.block_17(x, inner)
        x = self.reduce_17(x)
        for _ in range(2):
            x = self.block_8(x)
        return x

    def stem(self, x: Tensor) -> Tensor:
        valid = partial(self.unit, pad="valid")
        x = self.unit(valid(valid(x, 32, 3, 2), 32, 3), 64, 3)
        x = self.g.max_pool(x, 3, 2, "valid")
        x = valid(valid(x, 80, 1), 192, 3)
        return self.g.max_pool(x, 3, 2, "valid")

    def block_35(self, x: Tensor, pool_channels: int) -> Tensor:
        """After the paper's Fig. 5, on the 35 x 35 grid; one branch keeps its 5 x 5 filter."""
        pooled = self.unit(self.g.average_pool(x, 3, 1), pool_channels, 1)
        return self.g.concat([self.unit(x, 64, 1), self.chain(x, (48, 1), (64, 5)), self.chain(x, (64, 1), (96, 3), (96, 3)), pooled])

    def reduce_35(self, x: Tensor) -> Tensor:
        """To the 17 x 17 grid (Fig. 10)."""
        deep = self.unit(self.chain(x, (64, 1), (96, 3)), 96, 3, 2, "valid")
        return self.g.concat([self.unit(x, 384, 3, 2, "valid"), deep, self.g.max_pool(x, 3, 2, "valid")])

    def block_17(self, x: Tensor, inner: int) -> Tensor:
        """The paper's Fig. 6 with n = 7, on the 17 x 17 grid."""
        short = self.chain(x, (inner, 1), (inner, (1, 7)), (192, (7, 1)))
        long = self.chain(x, (inner, 1), (inner, (7, 1)), (inner, (1, 7)), (inner, (7, 1)), (192, (1, 7)))
        return self.g.concat([self.unit(x, 192, 1), short, long, self.unit(self.g.average_pool(x, 3, 1), 192, 1)])

    def reduce_17(self, x: Tensor) -> Tensor:
        """To the 8 x 8 grid."""
        short = self.unit(self.unit(x, 192, 1), 320, 3, 2, "valid")
        long = self.unit(self.chain(x, (192, 1), (192, (1, 7)), (192, (7, 1))), 192, 3, 2, "valid")
        return self.g.concat([short, long, self.g.max_pool(x, 3, 2, "valid")])

    def block_8(self, x: Tensor) -> Tensor:
        """The paper's Fig. 7, on the 8 x 8 grid: the ends of two branches are split in two."""
        short = self.unit(x, 384, 1)
        long = self.chain(x, (448, 1), (384, 3))
        ends = [self.unit(y, 384, kernel) for y in (short, long) for kernel in ((1, 3), (3, 1))]
        return self.g.concat([self.unit(x, 320, 1), *ends, self.unit(self.g.average_pool(x, 3, 1), 192, 1)])
