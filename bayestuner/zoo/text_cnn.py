"""Sentence classification: Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014, Section 2 and Fig. 1.

Filter windows 3, 4, 5 with 100 feature maps each on 300-dimensional word vectors (Section 3.1); the vocabulary of 18,765 words is that
of the MR data set in the paper's Table 1, whose longest sentence has 56 words.
"""

from __future__ import annotations

from bayestuner.zoo.builder import GraphBuilder, scaled
from bayestuner.zoo.graph import Graph

VOCABULARY = 18_765
WORDS = 56
_WINDOWS = (3, 4, 5)


def text_cnn(scale: float = 1.0) -> Graph:
    """Kim's CNN-non-static, one channel, two classes, on sentences of 56 words.

    Parameters
    ----------
    scale : float
        Fewer words, shorter vectors and fewer filters where below 1.

    Returns
    -------
    Graph
    """
    g = GraphBuilder("text_cnn")
    vocabulary, width, filters = scaled(VOCABULARY, scale), scaled(300, scale, 4), scaled(100, scale, 4)
    words = g.input("words", (WORDS,), "ids", below=vocabulary)
    x = g.node("Gather", [g.weight((vocabulary, width), std=0.5), words], (WORDS, width), axis=0)
    # Word vectors become channels of a one-row image, so that a window over k words is a 1 x k convolution.
    x = g.node("Transpose", [x], (width, WORDS), perm=[0, 2, 1])
    x = g.node("Unsqueeze", [x, g.constant([2], integer=True)], (width, 1, WORDS))
    features = []
    for window in _WINDOWS:
        y = g.relu(g.conv(x, filters, (1, window), pad="valid", bias=True))
        features.append(g.node("GlobalMaxPool", [y], (filters, 1, 1)))
    logits = g.dense(g.flatten(g.concat(features)), 2)
    g.output(g.node("Softmax", [logits], (2,), axis=1), "probabilities")
    return g.finish()
