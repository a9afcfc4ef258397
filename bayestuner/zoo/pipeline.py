"""The step before inference, off by default: turning what a client sends into what a net is fed, with numpy and the standard library.

Images are compressed as in PNG (deflated rows, filter "up") and a seventh larger than the network's input: they are inflated, cropped and
scaled to floats. Audio is 16-bit PCM at 16 kHz and becomes a log spectrogram of 20 ms frames. Sentences are text and become word numbers.
The encoded items are random and made once; they are decoded anew for every batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bayestuner.zoo.graph import Graph, Input
from bayestuner.zoo.inputs import Feeds

_DIFFERENT_ITEMS = 8
_MARGIN = 1.15
_RATE_HZ = 16_000
_LONGEST_WINDOW = 2048

Decoder = Callable[[bytes], npt.NDArray[np.generic]]


class Pipeline:
    """Decodes batches of one size for one net.

    Parameters
    ----------
    graph : Graph
    batch_size : int
    seed : int
        Seed of the encoded items, of which there are eight different ones for each input.
    """

    def __init__(self, graph: Graph, batch_size: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._batch_size = batch_size
        self._turn = 0
        self._sources: list[tuple[Input, list[bytes], Decoder]] = []
        for needed in graph.inputs:
            if needed.kind != "state":
                encode, decode = _codec(needed, rng)
                self._sources.append((needed, [encode() for _ in range(_DIFFERENT_ITEMS)], decode))

    def next_batch(self) -> Feeds:
        """Decode one batch: the feeds of every input but carried states."""
        turn = self._turn
        self._turn += self._batch_size
        return {
            needed.name: np.stack([decode(items[(turn + i) % len(items)]) for i in range(self._batch_size)])
            for needed, items, decode in self._sources
        }


def _codec(needed: Input, rng: np.random.Generator) -> tuple[Callable[[], bytes], Decoder]:
    if needed.kind == "ids":
        return _text_codec(needed, rng)
    return _image_codec(needed, rng) if needed.shape[0] == 3 else _audio_codec(needed, rng)


def _image_codec(needed: Input, rng: np.random.Generator) -> tuple[Callable[[], bytes], Decoder]:
    _, height, width = needed.shape
    tall, wide = round(height * _MARGIN), round(width * _MARGIN)
    top, left = (tall - height) // 2, (wide - width) // 2

    def encode() -> bytes:
        smooth = rng.integers(0, 256, (tall // 8 + 1, wide // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:tall, :wide]
        pixels = np.asarray(smooth + rng.integers(-6, 7, smooth.shape), dtype=np.int64).clip(0, 255).astype(np.uint8)
        return zlib.compress(np.diff(pixels, axis=0, prepend=np.uint8(0)).tobytes(), 6)

    def decode(data: bytes) -> npt.NDArray[np.generic]:
        rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(tall, wide, 3)
        pixels = np.cumsum(rows, axis=0, dtype=np.uint8)[top : top + height, left : left + width]
        return (pixels.transpose(2, 0, 1).astype(np.float32) - np.float32(127.5)) / np.float32(127.5)

    return encode, decode


def _audio_codec(needed: Input, rng: np.random.Generator) -> tuple[Callable[[], bytes], Decoder]:
    _, frequencies, frames = needed.shape
    size = min(2 * (frequencies - 1), _LONGEST_WINDOW)
    hop = size // 2
    window = np.hanning(size).astype(np.float32)
    starts = hop * np.arange(frames)[:, None] + np.arange(size)

    def encode() -> bytes:
        t = np.arange(hop * (frames - 1) + size) / _RATE_HZ
        tones = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(100, 4000, 5))
        noise = rng.standard_normal(t.size)
        return np.asarray(3000 * tones + 300 * noise).clip(-32768, 32767).astype("<i2").tobytes()

    def decode(data: bytes) -> npt.NDArray[np.generic]:
        samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
        spectrum = np.abs(np.fft.rfft(samples[starts] * window, axis=1))[:, :frequencies]
        logs = np.log1p(spectrum).astype(np.float32)
        return np.asarray((logs - logs.mean()) / (logs.std() + np.float32(1e-6))).T[None]

    return encode, decode


def _text_codec(needed: Input, rng: np.random.Generator) -> tuple[Callable[[], bytes], Decoder]:
    (length,) = needed.shape
    numbers = {f"word{i}": i for i in range(needed.below)}
    unknown = 0

    def encode() -> bytes:
        return " ".join(f"Word{i}" for i in rng.integers(1, needed.below, max(1, length * 2 // 3))).encode()

    def decode(data: bytes) -> npt.NDArray[np.generic]:
        words = data.decode().lower().split()[:length]
        found = np.zeros(length, dtype=np.int64)
        found[: len(words)] = [numbers.get(word, unknown) for word in words]
        return found

    return encode, decode
