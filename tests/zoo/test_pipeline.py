"""The input pipeline: what it decodes is what the net takes, and what was encoded."""

import json

import numpy as np
import pytest

from bayestuner.zoo import inputs, registry
from bayestuner.zoo.graph import Input
from bayestuner.zoo.pipeline import Pipeline, _codec


@pytest.mark.parametrize("name", registry.names())
def test_it_feeds_what_the_net_takes(name):
    graph = registry.spec(name).graph(0.2)
    feeds = Pipeline(graph, 3).next_batch()
    (plain, *_) = inputs.make_batches(graph, 3)
    assert feeds.keys() == {i.name for i in graph.inputs if i.kind != "state"}
    for key, value in feeds.items():
        assert (value.shape, value.dtype) == (plain[key].shape, plain[key].dtype)
        assert np.isfinite(value).all()


def test_items_differ_and_are_seeded():
    graph = registry.spec("mobilenet_v2").graph(0.2)
    one, same, other = (Pipeline(graph, 2, seed).next_batch()["image"] for seed in (0, 0, 1))
    assert (one == same).all()
    assert not (one == other).all()
    assert not (one[0] == one[1]).all()


def test_pixels_come_back_as_they_were():
    """Against inflating and undoing the filter row by row, as the PNG specification writes it."""
    import zlib

    encode, decode = _codec(Input("image", (3, 20, 30)), np.random.default_rng(0))
    data = encode()
    tall, wide = round(20 * 1.15), round(30 * 1.15)
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(tall, wide * 3)
    rows = [np.zeros(wide * 3, np.uint8)]
    for row in raw:
        rows.append((rows[-1].astype(int) + row).astype(np.uint8))
    pixels = np.array(rows[1:]).reshape(tall, wide, 3)[(tall - 20) // 2 :, (wide - 30) // 2 :][:20, :30]
    np.testing.assert_allclose(decode(data), pixels.transpose(2, 0, 1) / 127.5 - 1.0, atol=1e-6)


def test_a_tone_stands_at_its_frequency():
    _, decode = _codec(Input("spectrogram", (1, 161, 40)), np.random.default_rng(0))
    t = np.arange(160 * 39 + 320) / 16000
    spectrum = decode((8000 * np.sin(2 * np.pi * 2000 * t)).astype("<i2").tobytes())
    assert spectrum.shape == (1, 161, 40)
    assert (spectrum[0].argmax(axis=0) == 2000 * 320 // 16000).all()


def test_words_become_numbers_and_unknown_ones_zero():
    _, decode = _codec(Input("words", (6,), "ids", below=100), np.random.default_rng(0))
    assert decode(b"Word7 WORD99 word100 word3").tolist() == [7, 99, 0, 3, 0, 0]


@pytest.mark.zoo
def test_its_time_is_measured_apart(zoo_process):
    pytest.importorskip("onnxruntime")
    runs = [zoo_process("mobilenet_v2", "--scale", 0.2, "--seconds", 0.5, "--json", *more) for more in ((), ("--pipeline",))]
    without, with_it = (json.loads(done.stdout) for done in runs)
    assert without["pipeline_s_per_item"] is None
    assert 0 < with_it["pipeline_s_per_item"] < with_it["duration_s"] / with_it["items"]
