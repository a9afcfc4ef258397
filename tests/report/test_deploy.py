"""What `bayestuner apply` writes, read by the tools it is written for."""

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.cli.apply import KINDS
from bayestuner.cli.main import main
from bayestuner.errors import BayesTunerError
from bayestuner.report.apply import Launch
from bayestuner.report.deploy import FORMS, Deployment, form, served
from bayestuner.study.study import Study

NASTY = """a b"c'd\\e%f$G$(H)${I}`J`#k"""
LAUNCH = Launch(
    "My job: 1/2",
    ("/usr/bin/env", "python3", "job.py", NASTY, "--batch=8"),
    {"BAYESTUNER_CORES": "2", "NASTY": NASTY},
    "/usr/lib",
    "daemon",
    (0, 1, 3),
    (0,),
    2**29,
    (("clock_mhz", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "2100000"), ("fans", "the platform's own", "full")),
)
DEPLOYMENT = Deployment(LAUNCH, "registry/server:1", ("from a test",))
REQUIRED = bool(os.environ.get("BAYESTUNER_REQUIRE_EXTENSION"))


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None and not REQUIRED, reason=f"needs {tool} (a Debian package); CI installs it")


def body(text):
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_says_where_it_comes_from(kind):
    text = form(kind, DEPLOYMENT)
    assert kind == "json" or text.startswith("# from a test\n")
    assert set(KINDS) == set(FORMS)


@needs("systemd-analyze")
@pytest.mark.parametrize("kind", ["systemd", "systemd-drop-in"])
@pytest.mark.parametrize("command", [LAUNCH.command, ("./usr/bin/env", NASTY), ("env", NASTY)])
def test_systemd_reads_the_unit(kind, command, tmp_path):
    text = form(kind, replace(DEPLOYMENT, launch=replace(LAUNCH, command=command, cwd="/")))
    unit = tmp_path / "my-job.service"
    if kind == "systemd":
        unit.write_text(text)
    else:
        unit.write_text("[Service]\nExecStart=/bin/true\n")
        (tmp_path / "my-job.service.d").mkdir()
        (tmp_path / "my-job.service.d" / "bayestuner.conf").write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True, timeout=60)
    about_ours = [line for line in done.stderr.splitlines() if "my-job" in line]
    assert about_ours == []
    assert done.returncode == 0, done.stderr


def test_a_unit_sets_the_machine_and_puts_it_back(tmp_path):
    """The steps are run by a shell, as systemd would, on files that stand for the machine's."""
    setting, run = tmp_path / "freq", tmp_path / "run"
    setting.write_text("old\n")
    run.mkdir()
    deployment = replace(DEPLOYMENT, launch=replace(LAUNCH, settings=(("clock_mhz", str(setting), "new"),)))
    lines = form("systemd", deployment).replace("/run/my-job-1-2-settings", str(run)).splitlines()
    steps = {name: next(line for line in lines if line.startswith(name)).partition("=+")[2] for name in ("ExecStartPre", "ExecStopPost")}
    subprocess.run(steps["ExecStartPre"], shell=True, check=True)
    assert setting.read_text() == "new\n"
    subprocess.run(steps["ExecStopPost"], shell=True, check=True)
    assert setting.read_text() == "old\n"
    assert "RuntimeDirectory=my-job-1-2-settings" in lines
    assert "# not set here: fans=full of a platform" in form("systemd", DEPLOYMENT)


def test_docker_is_given_the_very_words():
    text = form("docker", DEPLOYMENT)
    words = shlex.split(body(text))
    at = words.index("registry/server:1")
    assert words[at + 1 :] == list(LAUNCH.command)
    assert {"--cpuset-cpus=0-1,3", "--memory=536870912", "--memory-swap=536870912", f"--env=NASTY={NASTY}", "--user=daemon"} <= set(
        words[:at]
    )
    assert "# set on the host beforehand: clock_mhz: 2100000 in /sys" in text
    assert "put your image's name in the place of IMAGE" in form("docker", replace(DEPLOYMENT, image="IMAGE"))


@needs("docker-compose")
def test_compose_reads_the_file(tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text('version: "2.4"\n' + form("compose", DEPLOYMENT))
    done = subprocess.run(["docker-compose", "-f", file, "config"], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    yaml = pytest.importorskip("yaml")
    service = yaml.safe_load(done.stdout)["services"]["my-job-1-2"]
    undoubled = [word.replace("$$", "$") for word in service["command"]]  # it prints what it would read again
    assert undoubled == list(LAUNCH.command)
    assert service["environment"]["NASTY"].replace("$$", "$") == NASTY
    assert service["cpuset"] == "0-1,3"
    assert str(service["mem_limit"]) == "536870912"


def test_kubernetes_knows_every_field_of_the_pod():
    validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    pod = yaml.safe_load(form("kubernetes", DEPLOYMENT))
    validate.validate(pod, validate.latest_version(), strict=True)
    container = pod["spec"]["containers"][0]
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"cpu": "3", "memory": "536870912"}
    assert [*container["command"], *container["args"]] == [word.replace("$(", "$$(") for word in LAUNCH.command]
    assert "static CPU manager policy" in form("kubernetes", DEPLOYMENT)


def test_json_holds_everything():
    data = json.loads(form("json", DEPLOYMENT))
    assert data["command"] == list(LAUNCH.command)
    assert (data["cpus"], data["memory_max_bytes"], data["user"]) == ([0, 1, 3], 2**29, "daemon")
    assert data["settings"][0] == {"knob": "clock_mhz", "target": LAUNCH.settings[0][1], "value": "2100000"}


def test_of_a_server_behind_the_load_generator_the_server_alone_is_deployed():
    loaded = ("python3", "-m", "bayestuner.measure.http_load", "--url", "http://127.0.0.1:@PORT@/", "--", "./server", "--port=@PORT@")
    assert served(replace(LAUNCH, command=loaded), 9000).command == ("./server", "--port=9000")
    assert served(LAUNCH).command == LAUNCH.command


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "json"])
def test_a_line_break_in_a_word_is_refused(kind):
    with pytest.raises(BayesTunerError, match="holds a line break"):
        form(kind, replace(DEPLOYMENT, launch=replace(LAUNCH, command=("/bin/true", "a\nExecStartPre=/bin/evil"))))


@pytest.fixture
def folder(tmp_path):
    """A study without a decision of launches: what `--bound` needs."""
    details = {"cpus": [0], "memory_max": 2**28, "mems": [0], "argv": ["/bin/true", "x"], "cwd": "/", "env": {"A": "1"}}
    with Study.create(tmp_path / "s", small_space(), small_goal(), "bayes", 0, 20, name="toy", job={"unit": "image"}) as study:
        for cores in (1, 2, 3, 4):
            config = {"cores": cores, "memory_mib": 512, "batch_size": 8}
            study.tell(study.adopt(config, "search"), pretend_run(config), details)
    return tmp_path / "s"


def test_the_command(folder, tmp_path, capsys):
    assert main(["apply", str(folder), "--as", "json", "--bound", "throughput >= 60"]) == 0
    assert json.loads(capsys.readouterr().out)["command"] == ["/bin/true", "x"]
    out = tmp_path / "unit"
    assert main(["apply", str(folder), "--as", "systemd", "--bound", "throughput >= 60", "--out", str(out)]) == 0
    assert "cores=3" in out.read_text()  # 2 give 45, 3 give 68
    assert main(["apply", str(folder), "--bound", "throughput >= 60", "--out", str(out)]) == 2
    assert "exists already and is left as it is" in capsys.readouterr().err
    assert main(["apply", str(folder), "--bound", "throughput >= 6000"]) == 1
    assert "likely to meet throughput >= 6000" in capsys.readouterr().err
    assert main(["apply", str(folder)]) == 1
    assert "recommends nothing to apply: not finished yet" in capsys.readouterr().err
    assert main(["apply", str(folder), "--port", "0"]) == 2
    assert Path(folder, "study.sqlite").exists()
