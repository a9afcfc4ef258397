"""Reduced-size variants of every net: valid ONNX, the described shapes, finite outputs."""

import numpy as np
import pytest

from bayestuner.zoo import inputs, registry, session
from bayestuner.zoo.builder import GraphBuilder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.zoo

SCALE = 0.1


@pytest.mark.parametrize("name", registry.names())
def test_the_file_passes_onnx_checker(name, zoo_cache):
    path = registry.build(name, SCALE)
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]


@pytest.mark.parametrize("name", registry.names())
def test_outputs_are_finite_and_of_the_described_shape(name, zoo_cache):
    graph = registry.spec(name).graph(SCALE)
    model = session.open_session(registry.build(name, SCALE), threads=1)
    for batch in (1, 3):
        (feeds, *_) = inputs.make_batches(graph, batch)
        results = model.run(None, feeds)
        for described, got in zip(graph.outputs, results, strict=True):
            assert got.shape == (batch, *described.shape)
            assert np.isfinite(got).all()


@pytest.mark.parametrize("name", ["mobilenet_v2", "text_cnn"])
def test_the_full_net_runs(name, zoo_cache):
    graph = registry.spec(name).graph()
    model = session.open_session(registry.build(name), threads=1)
    (feeds, *_) = inputs.make_batches(graph, 2)
    (probabilities,) = model.run(None, feeds)
    assert probabilities.shape == (2, *graph.outputs[0].shape)
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert not np.allclose(probabilities[0], probabilities[1])  # the items of a batch are told apart: nothing died on the way


@pytest.mark.parametrize("name", registry.names())
def test_items_of_a_batch_do_not_mix(name, zoo_cache):
    """Each item's result alone is its result in a batch: reshapes and transposes keep the batch axis whole."""
    graph = registry.spec(name).graph(SCALE)
    model = session.open_session(registry.build(name, SCALE), threads=1)
    (feeds, *_) = inputs.make_batches(graph, 3)
    together = model.run(None, feeds)
    for item in range(3):
        alone = model.run(None, {key: value[item : item + 1] for key, value in feeds.items()})
        for one, all_three in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_three[item], rtol=1e-3, atol=1e-3 * max(1e-6, np.abs(all_three).max()))


def test_state_is_carried_from_batch_to_batch(zoo_cache):
    from bayestuner.zoo.job import _stepper

    graph = registry.spec("deepvs").graph(SCALE)
    model = session.open_session(registry.build("deepvs", SCALE), threads=1)
    (feeds, *_) = inputs.make_batches(graph, 1)
    seen = []

    class Recorder:
        def get_outputs(self):
            return model.get_outputs()

        def run(self, wanted, fed):
            seen.append({k: v.copy() for k, v in fed.items()})
            return model.run(wanted, fed)

    step = _stepper(Recorder(), inputs.carried(graph))
    step(feeds)
    step(feeds)
    assert not seen[0]["h1"].any()
    assert seen[1]["h1"].any()
    np.testing.assert_array_equal(seen[0]["frame"], seen[1]["frame"])


def test_factorised_reduction_samples_two_interleaved_grids(tmp_path):
    """Against the definition: every second pixel, and every second pixel one row and column further, zero beyond the edge."""
    from bayestuner.zoo import cells
    from bayestuner.zoo.export import to_onnx

    for side in (4, 5):
        g = GraphBuilder("reduction")
        g.output(cells.match(g, g.input("x", (2, side, side)), g.input("y", (2, (side + 1) // 2, (side + 1) // 2)), 4), "z")
        model = to_onnx(g.finish())
        path = tmp_path / f"{side}.onnx"
        onnx.save(model, str(path))
        weights = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
        kernels = [weights[n.input[1]][:, :, 0, 0] for n in model.graph.node if n.op_type == "Conv"]
        x = np.random.default_rng(0).standard_normal((1, 2, side, side), dtype=np.float32)
        unused = np.zeros((1, 2, (side + 1) // 2, (side + 1) // 2), np.float32)
        got = session.open_session(path, threads=1).run(None, {"x": x, "y": unused})[0]
        padded = np.pad(np.maximum(x, 0.0), ((0, 0), (0, 0), (0, 1), (0, 1)))
        halves = [padded[:, :, :side:2, :side:2], padded[:, :, 1 : side + 1 : 2, 1 : side + 1 : 2]]
        expected = np.concatenate([np.einsum("oc,nchw->nohw", k, h) for k, h in zip(kernels, halves, strict=True)], axis=1)
        np.testing.assert_allclose(got, expected / np.sqrt(1.001), rtol=1e-4, atol=1e-5)


def test_same_padding_is_tensorflows(tmp_path):
    from bayestuner.zoo.builder import _window

    assert _window(224, 3, 2, "same") == (112, 0, 1)  # even side, stride 2: the odd pixel of padding comes behind
    assert _window(165, 3, 2, "same") == (83, 1, 1)
    assert _window(299, 3, 2, "valid") == (149, 0, 0)
    assert _window(224, 7, 2, 3) == (112, 3, 3)


def test_weights_are_seeded():
    from bayestuner.zoo.export import serialised

    graph = registry.spec("text_cnn").graph(SCALE)
    assert b"".join(serialised(graph)) == b"".join(serialised(graph))
