"""The nets against published figures; nothing is built and no weight is allocated."""

import math

import pytest

from bayestuner.zoo import registry
from bayestuner.zoo.builder import GraphBuilder

# Parameters. Keras: the "Parameters" / total params of keras.io/api/applications and of Model.summary(), moving statistics included.
KERAS = {
    "mobilenet_v2": 3_538_984,
    "resnet_v2": 25_613_800,
    "resnet101_v2": 44_675_560,
    "resnet152_v2": 60_380_648,
    "inception_v3": 23_851_784,
    "nasnet_large": 88_949_818,
}


@pytest.mark.parametrize(("name", "parameters"), KERAS.items())
def test_parameters_are_those_of_keras(name, parameters):
    assert registry.spec(name).graph().parameters == parameters


def test_parameters_of_pnasnet_are_those_of_timm():
    # timm's results tables list pnasnet5large with 86.06 M parameters (PyTorch counts no moving statistics); its model card says 86.1.
    graph = registry.spec("pnasnet5_large").graph()
    assert graph.parameters - graph.statistics == 86_057_668


def test_parameters_of_deepvs_are_those_of_the_released_checkpoint():
    # Sum over the shapes listed in the index of the checkpoint released with the paper (github.com/remega/OMCNN_2CLSTM,
    # LSTMconv_prefinal_loss05_dp075_075MC100-200000.index), all variables below "inference/" but the optimiser's.
    assert registry.spec("deepvs").graph().parameters == 83_728_768


def test_parameters_of_text_cnn_follow_from_the_paper():
    # Kim 2014: 18,765 words of 300 dimensions; windows 3, 4, 5 with 100 maps each; 300 features to 2 classes.
    embedding, classifier = 18_765 * 300, 300 * 2 + 2
    windows = sum(100 * 300 * window + 100 for window in (3, 4, 5))
    assert registry.spec("text_cnn").graph().parameters == embedding + windows + classifier


def test_parameters_of_deepspeech2_follow_from_its_layers():
    # Two convolutions (32 channels, 41 x 11 and 21 x 11), five bidirectional GRUs of 800 units, normalisation before layers 2 to 5 and
    # before the output.
    convolutions = 32 * 41 * 11 + 4 * 32 + 32 * 32 * 21 * 11 + 4 * 32
    rows = math.ceil(math.ceil(161 / 2) / 2) * 32
    gru = sum(2 * 3 * 800 * (features + 800 + 2) for features in (rows, 800, 800, 800, 800))
    assert registry.spec("deepspeech2").graph().parameters == convolutions + gru + 5 * 4 * 800 + 800 * 29


# Multiply-accumulates per item, in 1e9, as published, and how many digits the source gives.
PUBLISHED_GMACS = {
    "mobilenet_v2": (0.300, 0.002),  # Sandler et al. 2018, Table 4: 300 M
    "inception_v3": (5.72, 0.02),  # Szegedy et al. 2016: "5 billion"; timm's model card of inception_v3: 5.7
    "nasnet_large": (23.8, 0.1),  # Zoph et al. 2018, Table 2: 23.8 B
    "pnasnet5_large": (25.0, 0.1),  # Liu et al. 2018, Table 5: 25.0 B
}


@pytest.mark.parametrize("name", PUBLISHED_GMACS)
def test_multiply_accumulates_are_the_published_ones(name):
    published, margin = PUBLISHED_GMACS[name]
    assert registry.spec(name).graph().macs_per_item / 1e9 == pytest.approx(published, abs=margin)


OUTPUTS = {
    "mobilenet_v2": {"probabilities": (1000,)},
    "resnet_v2": {"probabilities": (1000,)},
    "resnet101_v2": {"probabilities": (1000,)},
    "resnet152_v2": {"probabilities": (1000,)},
    "text_cnn": {"probabilities": (2,)},
    "inception_v3": {"probabilities": (1000,)},
    "nasnet_large": {"probabilities": (1000,)},
    "pnasnet5_large": {"probabilities": (1000,)},
    "deepspeech2": {"characters": (150, 29)},
    "deepvs": {"saliency": (1, 112, 112)} | dict.fromkeys(("next_h1", "next_c1", "next_h2", "next_c2"), (128, 28, 28)),
}


@pytest.mark.parametrize("name", registry.names())
def test_output_shapes(name):
    assert {o.name: o.shape for o in registry.spec(name).graph().outputs} == OUTPUTS[name]


@pytest.mark.parametrize(
    ("name", "grids"), [("nasnet_large", {165, 83, 42, 21, 11}), ("inception_v3", {35, 17, 8}), ("resnet_v2", {56, 28, 14, 7})]
)
def test_grids_are_those_of_the_papers(name, grids):
    graph = registry.spec(name).graph()
    builder_shapes = {shape[1] for shape in shapes_of_convolutions(graph)}
    assert grids <= builder_shapes


def shapes_of_convolutions(graph):
    """Output shapes of every convolution, found independently of the builder: by onnx's own shape inference on the structure alone."""
    onnx = pytest.importorskip("onnx")
    from bayestuner.zoo.export import _skeleton

    weights = [onnx.helper.make_tensor_value_info(w.name, onnx.TensorProto.FLOAT, w.shape) for w in graph.weights if w.dtype == "float32"]
    model = _skeleton(onnx, graph)
    model.graph.input.extend(weights)
    inferred = onnx.shape_inference.infer_shapes(model)
    produced = {n.output[0] for n in model.graph.node if n.op_type == "Conv"}
    for value in inferred.graph.value_info:
        if value.name in produced:
            yield [d.dim_value for d in value.type.tensor_type.shape.dim[1:]]


@pytest.mark.parametrize("name", registry.names())
def test_a_smaller_scale_is_smaller_and_has_the_same_structure(name):
    full, small = registry.spec(name).graph(), registry.spec(name).graph(0.1)
    assert small.parameters < full.parameters / 5
    assert small.macs_per_item < full.macs_per_item / 20
    convolutions = [[n.op for n in graph.nodes].count("Conv") for graph in (full, small)]
    assert convolutions[0] == convolutions[1]


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, math.nan])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(registry.BayesTunerError, match="above 0 and at most 1"):
        registry.spec("mobilenet_v2").graph(scale)


def test_the_same_description_gives_the_same_digest_and_a_change_another():
    net = registry.spec("mobilenet_v2")
    assert net.graph().digest() == net.graph().digest()
    assert len({registry.spec(name).graph().digest() for name in registry.names()}) == len(registry.names())

    def tiny(std):
        g = GraphBuilder("tiny")
        g.output(g.node("MatMul", [g.input("x", (2,)), g.weight((2, 2), std=std)], (2,)), "y")
        return g.finish()

    assert tiny(1.0).digest() == tiny(1.0).digest() != tiny(2.0).digest()


def test_the_builder_refuses_what_does_not_fit():
    g = GraphBuilder("tiny")
    a, b = g.input("a", (3, 8, 8)), g.input("b", (3, 4, 4))
    with pytest.raises(ValueError, match="can't add"):
        g.add(a, b)
    with pytest.raises(ValueError, match="can't join"):
        g.concat([a, b])
