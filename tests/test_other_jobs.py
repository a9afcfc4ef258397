"""Jobs that are not ours: each example is run for real, through the runner that `tune` uses."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from patience import wait_for

from bayestuner.measure.job.command import text_of
from bayestuner.measure.job.parser import load_job
from bayestuner.tune.grid import measure_grid

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
pytestmark = pytest.mark.cgroup


@pytest.fixture
def run_one(tmp_path):
    """Measure one configuration of an example, with shorter windows; returns its row and its Job."""

    def run(name, replace=(), **only):
        (tmp_path / "jobs").mkdir()
        (tmp_path / "programs").symlink_to(EXAMPLES / "programs")
        text = (EXAMPLES / "jobs" / f"{name}.toml").read_text()
        text = re.sub(r"min_seconds = \d+", "min_seconds = 0.5", text).replace("relative_error = 0.03", "relative_error = 0.5")
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "jobs" / f"{name}.toml"
        path.write_text(text)
        job = load_job(path)
        part = {knob: [text_of(value)] for knob, value in job.all_max_config().items()} | {k: [str(v)] for k, v in only.items()}
        measure_grid(job, tmp_path / "table.csv", only=part, allow_affinity=True)
        with (tmp_path / "table.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["status"] == "ok", row["message"]
        return row, job

    return run


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_an_unmodified_benchmark_is_read_by_its_output(run_one):
    row, _ = run_one("openssl_speed", [("max_seconds = 10", "max_seconds = 8")], processes=2)
    assert float(row["throughput"]) > 100
    assert 0 < float(row["cpu_s_per_item"]) < 0.01


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_a_benchmark_that_runs_to_its_end_and_prints_its_figure(run_one):
    row, job = run_one("openssl_benchmark", [("relative_error = 0.05", "relative_error = 1.0\nmin_executions = 1")], processes=1)
    assert float(row["speed"]) > 1000
    assert 1.0 <= float(row["duration_s"]) < float(row["run_s"])
    assert [str(bound) for bound in job.goal.bounds] == ["speed >= 50%"]


def test_a_python_program_that_reports(run_one):
    row, _ = run_one("compress", threads=2, level=6, block_kib=64)
    assert float(row["throughput"]) > 64
    assert float(row["latency_p50_s"]) > 0


def test_a_random_forest(run_one):
    pytest.importorskip("sklearn")
    row, _ = run_one("forest", batch_size=100, trees=10)
    assert float(row["throughput"]) > 10


@pytest.mark.zoo
def test_an_http_server_under_a_latency_bound(run_one, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from bayestuner.zoo import registry

    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "cache"))
    registry.build("mobilenet_v2", 0.2)
    (image,) = registry.spec("mobilenet_v2").graph(0.2).inputs
    small = [('"--max-batch"', '"--scale", "0.2", "--max-batch"'), ('"150528"', f'"{image.bytes_per_item // 4}"')]
    small += [("max_seconds = 15", "max_seconds = 6"), ('"perf", "powercap", "msr", "model"', '"model"')]
    row, job = run_one("http_server", small, max_wait_ms=5)
    values = {name: float(row[name]) for name in ("throughput", "latency_p50_s", "latency_p99_s")}
    # What arrives is answered, and a request's latency has nothing to do with the time between two answers.
    assert 5 < values["throughput"] < 60
    assert 0.003 < values["latency_p50_s"] < values["latency_p99_s"]
    assert [str(bound) for bound in job.goal.bounds] == ["throughput >= 20", "latency_p99_s <= 0.2"]


SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        wrong = self.path != (sys.argv[4] if len(sys.argv) > 4 else "/")
        self.send_response(404 if wrong else int(sys.argv[3]) if len(sys.argv) > 3 and self.server.count else 200)
        self.server.count += 1
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.count = 0
server.serve_forever()
"""
BROKEN = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    client.recv(65536)
    print("asked", flush=True)
    try:
        exec(sys.argv[2])
    except OSError:
        pass
    client.close()
"""


def load(*options, server, report_fd=None, url="http://127.0.0.1:@PORT@/"):
    variables = {} if report_fd is None else {"BAYESTUNER_FD": str(report_fd)}
    command = [sys.executable, "-m", "bayestuner.measure.http_load", "--url", url, *options, "--", *server]
    return subprocess.Popen(
        command,
        env=os.environ | variables,
        pass_fds=() if report_fd is None else (report_fd,),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def loaded(*options, delay_s, more=()):
    """What the load generator reports of a server that takes `delay_s` for an answer."""
    from bayestuner.measure.run.protocol import PipeReports

    read, write = os.pipe()
    process = load(*options, server=[sys.executable, "-c", SERVER, "@PORT@", str(delay_s), *more], report_fd=write)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()  # ends when the generator and its server have
    _, errors = process.communicate(timeout=60)
    reports = PipeReports(0)
    reports.feed(data, 2**62)
    return process.returncode, errors, reports


def test_without_a_rate_every_client_waits_for_its_answer():
    code, errors, reports = loaded("--clients", "4", "--seconds", "2", delay_s=0.1)
    assert (code, errors, reports.faults) == (0, "", 0)
    seconds = (reports.stamps_ns[-1] - reports.ready_ns) / 1e9
    assert len(reports.items) <= 4 * seconds / 0.1 + 4
    assert min(reports.latencies_s) >= 0.1


def test_with_a_rate_latency_counts_the_wait_for_a_free_client():
    """One client, 0.1 s an answer, 20 arrivals a second: half of them pile up, and their latency says so."""
    code, _, reports = loaded("--clients", "1", "--rate", "20", "--seconds", "4", delay_s=0.1)
    assert code == 0
    assert reports.latencies_s[-1] > 0.5
    assert len(reports.items) < 50


def test_failing_requests_end_it_with_one_sentence():
    code, errors, _ = loaded("--seconds", "30", delay_s=0.0, more=["503"])
    assert code == 1
    assert errors.count("\n") == 1
    assert "the last failure: status 503 Service Unavailable" in errors


def test_a_server_that_does_not_start_is_named():
    process = load(server=["false"])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("bayestuner.measure.http_load: the server ended with exit status 1 before it answered GET http://127.0.0.1:")
    assert errors.count("\n") == 1


def test_a_server_program_that_is_missing_is_one_sentence():
    out, errors = (process := load(server=["/nowhere/server"])).communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert errors == "bayestuner.measure.http_load: the server's program '/nowhere/server' can't be started: No such file or directory\n"


def test_alone_it_prints_what_it_measured():
    process = load("--clients", "2", "--seconds", "2", server=[sys.executable, "-c", SERVER, "@PORT@", "0.05"])
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    start, figures, latency = out.splitlines()
    assert start.endswith("answers; now requests from 2 clients, as fast as answered")
    answers, seconds = re.match(r"(\d+) answers in ([\d.]+) s, [\d.]+ a second; 0 requests failed", figures).groups()
    assert 2 < int(answers) <= 2 * (float(seconds) + 0.1) / 0.05
    p50, longest = re.match(r"latency p50 ([\d.]+) ms, p90 .*, longest ([\d.]+) ms", latency).groups()
    assert 50 <= float(p50) <= float(longest)


def test_the_query_is_sent_and_belongs_to_the_path():
    path = "/v1/infer;v=2?model=a&batch=8"
    server = [sys.executable, "-c", SERVER, "@PORT@", "0.01", "200", path]
    process = load("--clients", "1", "--seconds", "0.5", server=server, url=f"http://127.0.0.1:@PORT@{path}")
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "; 0 requests failed" in out


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:@PORT@/", "127.0.0.1:@PORT@/", "http:///x", "http://h:99999999/", "http://h/a b", "ftp://h/"]
)
def test_what_is_no_http_url_is_refused(url):
    process = load(server=["true"], url=url)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "expected a URL that begins with http://" in errors


def test_a_wrong_path_is_said_in_the_words_of_http():
    code = "import sys; from bayestuner.measure import http_load; http_load._REFUSED_S = 1.0; sys.exit(http_load.main())"
    server = ["--", sys.executable, "-c", SERVER, "@PORT@", "0.01", "200", "/infer"]
    command = [sys.executable, "-c", code, "--url", "http://127.0.0.1:@PORT@/", *server]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(
        r"bayestuner.measure.http_load: the server answers GET http://127.0.0.1:\d+/ with status 404 Not Found and not with 200; "
        r"give a path and query that it serves in --url, and --body-bytes for a POST\n",
        errors,
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("client.sendall(b'HTTP/1.1 302 Found\\r\\nLocation: http://127.0.0.1/\\r\\nContent-Length: 0\\r\\n\\r\\n')", "status 302 Found"),
        ("time.sleep(60)", "a request without an answer for"),
        ("client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 99999999999999999999\\r\\n\\r\\n' + b'x' * 1000)", "bytes early"),
        ("client.sendall(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzzz\\r\\n')", "IncompleteRead"),
        ("client.sendall(b'\\x1b[2J\\x1b]0;x\\x07\\r\\n')", "BadStatusLine"),
    ],
)
def test_a_broken_server_is_named_when_the_time_to_start_is_over(answer, words):
    """As the runner ends it: by SIGTERM, with what went wrong as the last words."""
    process = load("--timeout", "20", server=[sys.executable, "-c", BROKEN, "@PORT@", answer])
    assert process.stdout.readline() == "asked\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("bayestuner.measure.http_load: stopped before GET http://127.0.0.1:")
    assert words in errors
    assert errors.count("\n") == 1
    assert errors[:-1].isprintable()


ENDLESS = {
    "body": "client.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\nwhile True: client.sendall(b'x' * 65536)",
    "chunks": (
        "client.sendall(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n')\n"
        "while True: client.sendall(b'5\\r\\nxxxxx\\r\\n' * 9999)"
    ),
    "continue": "while True: client.sendall(b'HTTP/1.1 100 Continue\\r\\n\\r\\n' * 999)",
    "drops": "client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 999\\r\\n\\r\\n')\nwhile True: client.sendall(b'x'); time.sleep(0.2)",
}


@pytest.mark.parametrize("kind", sorted(ENDLESS))
def test_an_answer_without_end_is_ended(kind):
    from bayestuner.measure.http_client import ask, connect
    from bayestuner.measure.http_load import _free_port

    port = _free_port()
    server = subprocess.Popen([sys.executable, "-c", BROKEN, str(port), ENDLESS[kind]])
    try:
        connection = connect("127.0.0.1", port, 1.5)
        wait_for(lambda: ask(connection, "GET", "/", None)[1].find("refused") < 0)
        tracemalloc.start()
        began = time.monotonic()
        status, problem = ask(connection, "GET", "/", None)
        assert time.monotonic() - began < 10
        assert status is None
        assert "no whole answer within 1.5 s" in problem or "more than 64 MiB" in problem or "timed out" in problem
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
        connection.close()
        server.kill()
        server.wait()


def test_sigterm_ends_generator_and_server():
    read, write = os.pipe()
    process = load(server=[sys.executable, "-c", SERVER, "@PORT@", "0.01"], report_fd=write)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert file.readline().startswith(b"ready ")
        (server,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        process.send_signal(signal.SIGTERM)
        file.read()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert not Path(f"/proc/{server}").exists()
