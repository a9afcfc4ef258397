"""Deep Speech 2: Amodei et al., "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin", ICML 2016, Fig. 1.

Two 2-D-invariant convolutions (32 channels, filters 41 x 11 and 21 x 11 in frequency x time, strides 2 x 2 and 2 x 1: the two-layer row
of its table of front ends), bidirectional gated recurrent layers with sequence-wise batch normalisation, the two directions summed, and a
softmax over 29 characters for the CTC loss. The paper varies the recurrent part; five layers of 800 units, as the open implementations
train on LibriSpeech, are used here.
"""

from __future__ import annotations

import math

from bayestuner.zoo.builder import GraphBuilder, scaled
from bayestuner.zoo.graph import Graph, Tensor

_FREQUENCIES = 161  # magnitudes of 20 ms windows at 16 kHz
_FRAMES = 300  # 3 s, a window every 10 ms
_LAYERS = 5
_UNITS = 800
_CHARACTERS = 29


def deepspeech2(scale: float = 1.0) -> Graph:
    """Deep Speech 2 on spectrograms of 3 s of audio, ``(1, 161, 300)``.

    Parameters
    ----------
    scale : float
        Fewer frames and narrower recurrent layers where below 1.

    Returns
    -------
    Graph
        Its output ``characters`` is time-major inside an item: ``(150, 29)`` per item, for CTC decoding.
    """
    g = GraphBuilder("deepspeech2")
    frames, units = max(20, round(_FRAMES * scale)), scaled(_UNITS, scale)
    x = g.input("spectrogram", (1, _FREQUENCIES, frames))
    for kernel, stride in (((41, 11), (2, 2)), ((21, 11), (2, 1))):
        x = g.clip(g.batch_norm(g.conv(x, scaled(32, scale), kernel, stride)), 0.0, 20.0)
    # The recurrent operator wants (time, batch, features): from here on the batch is the second axis.
    channels, rows, steps = x.shape
    x = g.node("Transpose", [x], (steps, channels, rows), perm=[3, 0, 1, 2])
    x = g.node("Reshape", [x, g.constant([steps, -1, channels * rows], integer=True)], (steps, channels * rows))
    for layer in range(_LAYERS):
        if layer:
            x = _sequence_norm(g, x)
        x = _bidirectional_gru(g, x, units)
    x = _sequence_norm(g, x)
    g.macs_per_item += steps * units * _CHARACTERS
    x = g.node("MatMul", [x, g.weight((units, _CHARACTERS), std=math.sqrt(1.0 / units))], (steps, _CHARACTERS))
    x = g.node("Softmax", [x], x.shape, axis=2)
    g.output(g.node("Transpose", [x], x.shape, perm=[1, 0, 2]), "characters")
    return g.finish()


def _sequence_norm(g: GraphBuilder, x: Tensor) -> Tensor:
    """Batch normalisation over all items and time steps of each feature."""
    steps, features = x.shape
    rows = g.node("Reshape", [x, g.constant([-1, features], integer=True)], (features,))
    return g.node("Reshape", [g.batch_norm(rows), g.constant([steps, -1, features], integer=True)], x.shape)


def _bidirectional_gru(g: GraphBuilder, x: Tensor, units: int) -> Tensor:
    """Add a gated recurrent layer in both directions, summed; weights as ONNX lays them out, update, reset and hidden gate stacked."""
    steps, features = x.shape
    w = g.weight((2, 3 * units, features), std=math.sqrt(1.0 / features))
    r = g.weight((2, 3 * units, units), std=math.sqrt(1.0 / units))
    b = g.weight((2, 6 * units))
    g.macs_per_item += steps * 2 * 3 * units * (features + units)
    attributes = {"hidden_size": units, "direction": "bidirectional", "linear_before_reset": 1}
    both = g.node("GRU", [x, w, r, b], (steps, 2, units), **attributes)
    return g.node("ReduceSum", [both, g.constant([1], integer=True)], (steps, units), keepdims=0)
