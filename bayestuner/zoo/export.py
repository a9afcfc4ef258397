"""From a `Graph` to an ONNX file, with seeded weights, a tensor at a time so that even the largest net is written in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayestuner.errors import MissingExtra
from bayestuner.zoo.graph import BATCH_AXIS, Graph, Weight

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
_STORED = {"float32": (1, "<f4"), "int64": (7, "<i8")}  # onnx.TensorProto.FLOAT and INT64; raw data are little-endian


def import_onnx() -> Any:
    """The onnx module; raises `MissingExtra`, naming the extra, where it isn't installed."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra(
            f"building a zoo model needs the package onnx, which can't be imported ({error}); "
            "install it with: pip install 'bayestuner[zoo]'"
        ) from error
    return onnx


def fill(weight: Weight, seed: int, position: int) -> npt.NDArray[Any]:
    """Values of one weight: each has a random stream of its own, so they don't depend on the order they are made in.

    Parameters
    ----------
    weight : Weight
    seed : int
        The graph's.
    position : int
        Index of the weight in the graph.
    """
    if weight.values is not None:
        return np.array(weight.values, dtype=weight.dtype).reshape(weight.shape)
    if weight.std == 0.0:
        return np.full(weight.shape, weight.mean, dtype=weight.dtype)
    values = np.random.default_rng((seed, position)).standard_normal(weight.shape, dtype=np.float32)
    values *= np.float32(weight.std)
    values += np.float32(weight.mean)
    return values


def serialised(graph: Graph) -> Iterator[bytes]:
    """The bytes of the ONNX file in pieces: the graph's structure first, then one piece per weight.

    Protocol buffers make this sound: where a message occurs twice its parts are merged, so a model that holds nothing but one
    initialiser can be appended to a serialised model to add that initialiser.
    """
    onnx = import_onnx()
    yield _skeleton(onnx, graph).SerializeToString()
    for position, weight in enumerate(graph.weights):
        piece = onnx.ModelProto()
        kind, layout = _STORED[weight.dtype]
        tensor = piece.graph.initializer.add(name=weight.name, dims=weight.shape, data_type=kind)
        tensor.raw_data = fill(weight, graph.seed, position).astype(layout, copy=False).tobytes()
        yield piece.SerializeToString()


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The whole model in memory; for tests and for those who want to change it."""
    model: onnx.ModelProto = import_onnx().ModelProto()
    for piece in serialised(graph):
        model.MergeFromString(piece)
    return model


def _skeleton(onnx: Any, graph: Graph) -> Any:
    helper, types = onnx.helper, onnx.TensorProto
    inputs = [
        helper.make_tensor_value_info(i.name, types.INT64 if i.kind == "ids" else types.FLOAT, [BATCH_AXIS, *i.shape]) for i in graph.inputs
    ]
    outputs = [helper.make_tensor_value_info(o.name, types.FLOAT, [BATCH_AXIS, *o.shape]) for o in graph.outputs]
    nodes = [helper.make_node(n.op, list(n.inputs), list(n.outputs), **n.attributes) for n in graph.nodes]
    opset = [helper.make_opsetid("", OPSET)]
    body = helper.make_graph(nodes, graph.name, inputs, outputs)
    model = helper.make_model(body, producer_name="bayestuner", opset_imports=opset)
    model.ir_version = IR_VERSION
    return model
