"""The eight jobs of BayesTuner's Table 1 by name: what each is, how it is counted, and where its file is.

Nothing here imports onnx or onnxruntime until a file must be built.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from bayestuner.errors import BayesTunerError
from bayestuner.zoo.graph import Graph


class UnknownNet(BayesTunerError, KeyError):
    """A name that is not in the zoo."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Spec:
    """One net of the zoo.

    Attributes
    ----------
    name : str
    title : str
        Name and input size, for people.
    module, function : str
        Module of ``bayestuner.zoo`` and function in it that describe the graph.
    unit : str
        What one item is called.
    paper_job : str
        The job's name in Table 1 of BayesTuner's paper.
    paper_throughput : float
        Its throughput constraint there, in items per second (on two Xeon E5-2680 v4, 28 cores).
    memory_mib : mapping of int to int
        Batch size -> peak memory of the job's process, measured once as its cgroup's peak with two threads and the arena. Where the model's
        file isn't in the page cache yet, reading it is charged to the job too: up to 150 MiB more, which the kernel takes back at need.
    arguments : mapping
        Arguments of the function besides ``scale``.
    """

    name: str
    title: str
    module: str
    function: str
    unit: str
    paper_job: str
    paper_throughput: float
    memory_mib: Mapping[int, int] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def graph(self, scale: float = 1.0) -> Graph:
        """Describe the network, in milliseconds and without allocating weights.

        Parameters
        ----------
        scale : float
            In (0, 1]: a narrower net on smaller inputs, of the same structure, for tests.
        """
        if not 0.0 < scale <= 1.0:
            raise BayesTunerError(f"the scale of a zoo model is above 0 and at most 1, not {scale:g}; 1 is the paper's size")
        graph: Graph = getattr(import_module(f"bayestuner.zoo.{self.module}"), self.function)(scale, **self.arguments)
        return graph


def _resnet(depth: int, memory_mib: Mapping[int, int]) -> Spec:
    title = f"ResNet{depth}V2, 224 x 224"
    return Spec(f"resnet{depth}_v2", title, "resnet", "resnet_v2", "image", "ResNetV2", 10.0, memory_mib, {"depth": depth})


_SPECS = {
    spec.name: spec
    for spec in (
        Spec("mobilenet_v2", "MobileNetV2, 224 x 224", "mobilenet", "mobilenet_v2", "image", "MobileNet", 50.0, {1: 70, 32: 408}),
        Spec("resnet_v2", "ResNet50V2, 224 x 224", "resnet", "resnet_v2", "image", "ResNetV2", 10.0, {1: 281, 32: 768}, {"depth": 50}),
        _resnet(101, {1: 537, 32: 990}),
        _resnet(152, {1: 712, 32: 1103}),
        Spec("text_cnn", "Kim's sentence CNN, 56 words", "text_cnn", "text_cnn", "sentence", "TextAnalysis", 5000.0, {1: 70, 32: 71}),
        Spec("inception_v3", "InceptionV3, 299 x 299", "inception", "inception_v3", "image", "InceptionV3", 20.0, {1: 258, 32: 1077}),
        Spec("nasnet_large", "NASNet-A Large, 331 x 331", "nasnet", "nasnet_large", "image", "NASNet", 3.0, {1: 966, 32: 3876}),
        Spec("pnasnet5_large", "PNASNet-5 Large, 331 x 331", "pnasnet", "pnasnet5_large", "image", "PNASNet", 4.0, {1: 1133, 32: 4363}),
        Spec("deepspeech2", "Deep Speech 2, 3 s of audio", "deepspeech", "deepspeech2", "audio", "DeepSpeech", 6.0, {1: 219, 32: 459}),
        Spec("deepvs", "DeepVS, 448 x 448 video frames", "deepvs", "deepvs", "frame", "DeePVS", 4.0, {1: 748, 32: 3040}),
    )
}
ALIASES = {"resnet50_v2": "resnet_v2"}


def names() -> tuple[str, ...]:
    """Names of all nets, without aliases."""
    return tuple(_SPECS)


def spec(name: str) -> Spec:
    """The net of that name or alias; raises `UnknownNet`, suggesting the nearest."""
    found = _SPECS.get(ALIASES.get(name, name))
    if found is not None:
        return found
    near = difflib.get_close_matches(name.lower().replace("-", "_"), [*_SPECS, *ALIASES], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(_SPECS)}"
    raise UnknownNet(f"there is no zoo model {name!r}; {hint}")


def describe(name: str, scale: float = 1.0) -> dict[str, Any]:
    """What is known of a network before it is built.

    Returns
    -------
    dict
        ``name``, ``parameters`` (moving statistics included), ``gmac_per_item``, ``unit``, ``paper_throughput`` (items per second),
        ``file_bytes`` (of the file in the cache, or what its weights take where it isn't built yet), and besides ``title``,
        ``paper_job``, ``cached``, ``memory_mib_batch_1`` and ``memory_mib_batch_32`` (measured once by the authors; None where not).
    """
    from bayestuner.zoo import cache

    net = spec(name)
    graph = net.graph(scale)
    file_bytes = cache.size_of(graph)
    return {
        "name": net.name,
        "parameters": graph.parameters,
        "gmac_per_item": graph.macs_per_item / 1e9,
        "unit": net.unit,
        "paper_throughput": net.paper_throughput,
        "file_bytes": graph.weight_bytes if file_bytes is None else file_bytes,
        "title": net.title,
        "paper_job": net.paper_job,
        "cached": file_bytes is not None,
        "memory_mib_batch_1": net.memory_mib.get(1),
        "memory_mib_batch_32": net.memory_mib.get(32),
    }


def build(name: str, scale: float = 1.0) -> Path:
    """Path of the net's ONNX file in the cache, built first where it is missing or damaged.

    Raises
    ------
    UnknownNet
    CacheUnusable
        The cache folder can't be written.
    MissingExtra
        The file must be built and onnx isn't installed.
    """
    from bayestuner.zoo import cache

    return cache.fetch(spec(name).graph(scale))
