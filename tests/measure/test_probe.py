"""The probe runs on any machine, says why for everything missing, and its form is JSON."""

import json
import sys

from energy_fakes import fake_roots, put_broadwell_ep

from bayestuner.measure.probe import probe


def test_every_unusable_thing_says_why_and_what_to_do():
    report = probe(idle_s=0.1)
    assert {i.group for i in report.items} == {"meter", "limit", "extension", "extra"}
    assert [i.what for i in report.items if i.group == "meter"] == ["perf", "powercap", "msr", "model"]
    for item in report.items:
        assert item.usable or (item.reason and item.remedy), item
    assert 0 <= report.outside_load <= 1
    assert json.loads(json.dumps(report.as_dict()))["verdict"] == report.verdict


def test_without_a_meter_the_verdict_names_what_can_be_measured(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    report = probe(roots=roots, idle_s=0)
    assert "cpu_s_per_item" in report.verdict
    assert report.outside_load is None
    assert report.machine["cpu"].startswith("Intel(R) Xeon(R) CPU E5-2680 v4")


def test_a_missing_extension_is_said_with_what_is_lost(monkeypatch):
    monkeypatch.setitem(sys.modules, "bayestuner._native", None)
    item = next(i for i in probe(idle_s=0).items if i.group == "extension")
    assert not item.usable
    assert "perf events" in item.reason
