"""Threads stay inside what was granted; for real, on this machine's cores."""

import os
import sys
from pathlib import Path

import pytest

from bayestuner.errors import BayesTunerError, MissingExtra
from bayestuner.zoo import inputs, registry, session

pytestmark = pytest.mark.zoo


def test_granted_cores_are_those_of_the_affinity_mask():
    before = os.sched_getaffinity(0)
    assert session.granted_cores({}) == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert session.granted_cores({}) == 1
        assert session.granted_cores({"BAYESTUNER_CORES": "64"}) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("asked", "granted"), [("1", 1), ("0", 1), ("", None), ("many", None), ("4096", None)])
def test_bayestuner_cores_only_narrows(asked, granted):
    assert session.granted_cores({"BAYESTUNER_CORES": asked}) == (granted or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("spin", "entry"), [(False, "0"), (True, "1")])
def test_options_reach_onnxruntime(spin, entry, zoo_cache):
    pytest.importorskip("onnxruntime")
    model = session.open_session(registry.build("text_cnn", 0.1), threads=1, spin=spin, arena=False)
    options = model.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == entry
    assert options.intra_op_num_threads == 1
    assert options.inter_op_num_threads == 1
    assert not options.enable_cpu_mem_arena
    assert model.get_providers() == ["CPUExecutionProvider"]


def masks_of_threads():
    """Affinity mask of every thread of this process."""
    return [os.sched_getaffinity(int(task.name)) for task in Path("/proc/self/task").iterdir()]


def test_no_thread_escapes_the_mask(zoo_cache):
    """More threads than the mask has CPUs: all of them stay in it (onnxruntime's own pool would pin them beyond)."""
    pytest.importorskip("onnxruntime")
    path = registry.build("mobilenet_v2", 0.1)
    graph = registry.spec("mobilenet_v2").graph(0.1)
    before = os.sched_getaffinity(0)
    one = {max(before)}
    others = len(masks_of_threads())
    os.sched_setaffinity(0, one)
    try:
        model = session.open_session(path, threads=3)
        model.run(None, inputs.make_batches(graph, 1)[0])
        masks = masks_of_threads()
        assert len(masks) == others + 2  # the calling thread is the third
        assert masks.count(one) == 3
        del model
    finally:
        os.sched_setaffinity(0, before)


def test_without_onnxruntime_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime.*pip install 'bayestuner\[zoo\]'"):
        session.open_session(tmp_path / "any.onnx", threads=1)


def test_batches_are_seeded_and_few():
    graph = registry.spec("text_cnn").graph(0.1)
    first, again, other = (inputs.make_batches(graph, 4, seed) for seed in (0, 0, 1))
    assert len(first) == 8
    assert all((a["words"] == b["words"]).all() for a, b in zip(first, again, strict=True))
    assert (first[0]["words"] != other[0]["words"]).any()
    assert (first[0]["words"] != first[1]["words"]).any()
    assert first[0]["words"].max() < graph.inputs[0].below
    assert len(inputs.make_batches(registry.spec("mobilenet_v2").graph(), 32)) == 1


@pytest.mark.parametrize("batch", [0, -3])
def test_a_batch_below_one_is_refused(batch):
    with pytest.raises(BayesTunerError, match=f"at least 1 item, not {batch}"):
        inputs.make_batches(registry.spec("text_cnn").graph(0.1), batch)


def test_a_batch_beyond_the_machines_memory_is_refused_before_it_is_made():
    with pytest.raises(BayesTunerError, match=r"10000000 items of mobilenet_v2 takes 5,607\.6 GiB .* give a smaller --batch"):
        inputs.make_batches(registry.spec("mobilenet_v2").graph(), 10_000_000)
