"""Names, descriptions, and what a wrong name is answered."""

import json
import subprocess
import sys

import pytest

from bayestuner.zoo import registry

PAPERS_TABLE_1 = {
    "deepspeech2": 6,
    "deepvs": 4,
    "text_cnn": 5000,
    "pnasnet5_large": 4,
    "nasnet_large": 3,
    "inception_v3": 20,
    "resnet_v2": 10,
    "mobilenet_v2": 50,
}


def test_all_eight_jobs_of_the_paper_with_their_throughput_constraint():
    assert {name: registry.spec(name).paper_throughput for name in PAPERS_TABLE_1} == PAPERS_TABLE_1
    assert set(PAPERS_TABLE_1) <= set(registry.names())


@pytest.mark.parametrize("name", registry.names())
def test_description(name, zoo_cache):
    described = registry.describe(name)
    assert {"name", "parameters", "gmac_per_item", "unit", "paper_throughput", "file_bytes"} <= described.keys()
    assert described["name"] == name
    assert described["file_bytes"] >= 4 * described["parameters"]
    assert json.loads(json.dumps(described)) == described


def test_alias():
    assert registry.spec("resnet50_v2") is registry.spec("resnet_v2")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("mobilenet", "mobilenet_v2"), ("ResNet-50-v2", "resnet50_v2"), ("pnasnet", "pnasnet5_large"), ("textcnn", "text_cnn")],
)
def test_a_wrong_name_is_answered_with_the_nearest(wrong, meant):
    with pytest.raises(registry.UnknownNet) as caught:
        registry.spec(wrong)
    assert str(caught.value) == f"there is no zoo model {wrong!r}; did you mean {meant!r}?"


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(registry.UnknownNet, match="the names are mobilenet_v2, resnet_v2, "):
        registry.spec("qqqqqqqq")


def test_the_registry_imports_nothing_heavy():
    code = (
        "import sys; from bayestuner.zoo import registry; registry.names(); "
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'numba', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
