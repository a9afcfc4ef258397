"""A study as plain objects, CSV and a data frame."""

import csv
import io

import pytest
from study_doubles import pretend_run, small_goal, small_space

import bayestuner as bt
from bayestuner.cli.main import main
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "s"
    with Study.create(path, small_space(), small_goal(), "random", 0, 9, name="toy", job={"unit": "image"}) as study:
        default = {"cores": 4, "memory_mib": 512, "batch_size": 8}
        study.tell(study.adopt(default, "baseline"), pretend_run(default), {"power_source": "model", "estimated": True})
        measured = Measured({"power_w": Reading(20.0), "throughput": Reading(30.0, 0.5)}, flags=("unsteady", "contended"))
        study.tell(study.adopt({"cores": 1, "memory_mib": 512, "batch_size": 8}, "search"), measured, {})
        study.tell(study.adopt({"cores": 1, "memory_mib": 128, "batch_size": 8}, "search"), Failed("oom", '=cmd("x"), killed'), {})
        study.ask()
    return path


def test_runs_are_plain_objects(folder):
    study = bt.load_study(folder)
    assert (study.name, study.unit, study.estimated, study.recommended, study.verdict) == ("toy", "image", True, None, None)
    assert study.knobs == ("cores", "memory_mib", "batch_size")
    assert study.metrics == ("power_w", "throughput")
    first, second, failed, running = study.runs
    assert (first.number, first.role, first.config["cores"], first.metrics["power_w"]) == (1, "baseline", 4, 50.0)
    assert second.metrics_sd == {"power_w": None, "throughput": 0.5}
    assert second.flags == ("unsteady", "contended")
    assert (failed.state, failed.failure, failed.message, failed.metrics) == ("failed", "oom", '=cmd("x"), killed', {})
    assert (running.state, running.told_utc) == ("running", None)


def test_csv_names_estimates_and_holds_no_formula(folder, capsys):
    assert main(["show", str(folder), "--csv"]) == 0
    text = capsys.readouterr().out
    assert text == bt.load_study(folder).to_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 4
    assert list(rows[0])[:5] == ["run", "role", "cores", "memory_mib", "batch_size"]
    assert (rows[1]["estimated_power_w"], rows[1]["estimated_power_w_sd"], rows[1]["throughput_sd"]) == ("20.0", "", "0.5")
    assert rows[2]["message"] == '\'=cmd("x"), killed'


def test_a_data_frame(folder):
    frame = bt.load_study(folder).to_dataframe()
    assert frame.shape[0] == 4
    assert frame["estimated_power_w"].dropna().tolist() == [50.0, 20.0]
    assert frame.loc[frame["failure"] == "oom", "memory_mib"].tolist() == [128]


def test_a_study_without_runs_has_its_columns(tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 9, name="toy"):
        pass
    study = bt.load_study(tmp_path / "s")
    assert study.to_csv().startswith("run,role,cores,memory_mib,batch_size,state,flags,")
    assert list(study.to_dataframe().columns)[:3] == ["run", "role", "cores"]


def test_what_is_no_study_is_said(tmp_path):
    with pytest.raises(bt.BayesTunerError, match="does not exist; a study is the folder"):
        bt.load_study(tmp_path / "none")
