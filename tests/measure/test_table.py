"""A table of measured configurations: it goes on only with the same knobs, job and meter, and says what differs otherwise;
no text in it is run as a formula."""

import csv

import pytest

from bayestuner.errors import StoreError
from bayestuner.measure.table import Provenance, Table
from bayestuner.trial import Failed, Measured, Reading

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


VALUES = ["-O3", "=HYPERLINK(1)", "@x", "a  b", "plain", "'quoted", -5]


def test_no_cell_is_a_formula_and_every_value_is_found_again(tmp_path):
    provenance = Provenance(["flag"], {"name": "job"}, None)
    table = Table(tmp_path / "t.csv", provenance)
    table.begin({})
    for value in VALUES:
        table.add({"flag": value}, Failed("error", "=cmd|x\r\n\x1b[2J"), {})
    raw = (tmp_path / "t.csv").read_bytes()
    assert raw.decode().replace("\n", "").isprintable()
    cells = [cell for row in csv.reader(raw.decode().splitlines()) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@") or (cell[:1] == "-" and cell != "-5")]
    again = Table(tmp_path / "t.csv", provenance)
    assert len(again.rows) == len(VALUES)
    assert {again.key({"flag": value}) for value in VALUES} == again.measured


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_a_table_is_not_written_through_a_link(tmp_path, ending):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"t{ending}").symlink_to(tmp_path / "missing")
    with pytest.raises(StoreError, match="is a link, no regular file"):
        begun(tmp_path)
    assert not (tmp_path / "missing").exists()
    (tmp_path / f"t{ending}").unlink()
    (tmp_path / "t.csv").unlink(missing_ok=True)
    (tmp_path / f"t{ending}.part").symlink_to(tmp_path / "precious")
    table = begun(tmp_path)
    (tmp_path / "t.csv").unlink()
    (tmp_path / "t.csv").symlink_to(tmp_path / "precious")  # swapped between two runs
    with pytest.raises(StoreError, match="is a link, no regular file"):
        table.add({"cores": 1}, Failed("error", ""), {})
    assert (tmp_path / "precious").read_text() == "precious"
