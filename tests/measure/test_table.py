"""A table of measured configurations: it goes on only with the same knobs, job and meter, and says what differs otherwise."""

import pytest

from bayestuner.errors import StoreError
from bayestuner.measure.table import Provenance, Table
from bayestuner.trial import Measured, Reading

METER = {"source": "perf", "boundary": "pkg", "estimated": False}
MODEL = {"source": "model", "boundary": "model", "estimated": True}


def begun(folder):
    table = Table(folder / "t.csv", Provenance(["cores"], {"command": ["a"]}, METER))
    table.begin({})
    table.add({"cores": 1}, Measured({"throughput": Reading(2.0), "power_w": Reading(30.0)}), {})
    return table


@pytest.mark.parametrize(
    ("knobs", "job", "power", "words"),
    [
        (["threads"], {"command": ["a"]}, METER, "it was begun with other knobs ("),
        (["threads"], {"command": ["b"]}, METER, "it was begun with other knobs and another job ("),
        (["cores"], {"command": ["a"]}, MODEL, "it was begun with another power meter ("),
        (["cores"], {"command": ["b"]}, None, "it was begun with another job and another power meter ("),
    ],
)
def test_a_table_of_other_measurements_is_refused_with_what_differs(tmp_path, knobs, job, power, words):
    before = begun(tmp_path).path.read_bytes()
    with pytest.raises(StoreError) as refused:
        Table(tmp_path / "t.csv", Provenance(knobs, job, power))
    assert words in str(refused.value)
    assert (tmp_path / "t.csv").read_bytes() == before


def test_a_table_of_the_same_measurements_goes_on(tmp_path):
    begun(tmp_path)
    again = Table(tmp_path / "t.csv", Provenance(["cores"], {"command": ["a"]}, METER))
    assert again.measured == {("1",)}
