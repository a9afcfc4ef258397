"""A load generator for jobs that are HTTP servers: starts the server, drives it over loopback, reports every answer with its latency.

    python -m bayestuner.measure.http_load --url http://127.0.0.1:@PORT@/infer --rate 25 -- ./server --port @PORT@

It is the job that BayesTuner starts, so server and clients share the run's cores and memory: what the clients use is counted too. With
``--rate`` requests arrive at random (Poisson) whatever the server does, and latency counts from a request's arrival, its wait for a free
client included. Without it every client sends its next request when it has its answer. Outside BayesTuner it prints what it has measured.
Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from urllib.parse import urlsplit

from bayestuner.measure.http_client import ask, connect
from bayestuner.measure.reporter import done, ready

PORT = "@PORT@"
"""Stands for a free port in the URL and in the server's command."""

_MODULE = "bayestuner.measure.http_load"
_POLL_S = 0.05
_STOP_S = 5.0
_REFUSED_S = 10.0
"""A server that answers, but not with 200, may still be loading for so long."""

_LONG_S = 0.5
_MAY_PASS = frozenset({408, 425, 429})
_FAILURES_AT_LEAST = 3
_FAILURES_SHARE = 0.01
_MAX_KEPT = 1_000_000


def server_command(command: Sequence[str]) -> tuple[str, ...] | None:
    """The server's own command in a job's command that runs this load generator; None of any other command."""
    words = tuple(command)
    if _MODULE not in words or "--" not in words[words.index(_MODULE) :]:
        return None
    return words[words.index("--", words.index(_MODULE)) + 1 :]


class _Arrivals:
    """When requests arrive: at a rate, or as soon as a client is free."""

    def __init__(self, rate: float | None, seed: int) -> None:
        self._rate = rate
        self._rng = random.Random(seed)  # noqa: S311 - arrivals, no secret
        self._lock = threading.Lock()
        self._next_s = time.monotonic()

    def take(self) -> float:
        """Arrival of the next request, which is the caller's."""
        if self._rate is None:
            return time.monotonic()
        with self._lock:
            self._next_s += self._rng.expovariate(self._rate)
            return self._next_s


class _Load:
    """Clients of one server.

    Attributes
    ----------
    answers, failures : int
    last_failure : str
        What went wrong with the last request that failed, before the first answer as well.
    asked_s : float
        When the request under way before the first answer was sent.
    refused_since_s : float or None
        Since when, before the first answer, the server says that there is nothing at this URL, or something else that waiting won't change.
    answering, stopping : threading.Event
        The first request was answered; everything is to end.
    latencies_s : array of float
        Of the answers; of very many a random part.
    """

    def __init__(self, url: str, body: bytes | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        self.method = "GET" if body is None else "POST"
        self.url = url
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._body = body
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.answering = threading.Event()
        self.answers = 0
        self.failures = 0
        self.last_failure = ""
        self.asked_s = time.monotonic()
        self.refused_since_s: float | None = None
        self.latencies_s = array("d")

    def _ask(self, connection: HTTPConnection) -> tuple[int | None, str | None]:
        return ask(connection, self.method, self._target, self._body)

    def ask_until_answered(self) -> None:
        """Send the same request until it is answered with status 200."""
        connection = connect(*self._address, self._timeout_s)
        while not self.stopping.is_set():
            self.asked_s = time.monotonic()
            status, problem = self._ask(connection)
            if problem is None:
                self.answering.set()
                break
            self.last_failure = problem
            if status is not None and 300 <= status < 500 and status not in _MAY_PASS:
                self.refused_since_s = self.refused_since_s or time.monotonic()
            else:
                self.refused_since_s = None
            self.stopping.wait(_POLL_S)
        connection.close()

    def client(self, arrivals: _Arrivals) -> None:
        """Send requests until stopped."""
        connection = connect(*self._address, self._timeout_s)
        while not self.stopping.is_set():
            arrived_s = arrivals.take()
            if self.stopping.wait(max(0.0, arrived_s - time.monotonic())):
                break
            _, problem = self._ask(connection)
            with self._lock:  # a stamp is taken and written before the next
                if problem is None:
                    latency_s = time.monotonic() - arrived_s
                    done(1, latency_s)
                    self._keep(latency_s)
                elif not self.stopping.is_set():
                    self.failures += 1
                    self.last_failure = problem
        connection.close()

    def _keep(self, latency_s: float) -> None:
        self.answers += 1
        if len(self.latencies_s) < _MAX_KEPT:
            self.latencies_s.append(latency_s)
        elif (place := random.randrange(self.answers)) < _MAX_KEPT:  # noqa: S311 - a sample, no secret
            self.latencies_s[place] = latency_s

    @property
    def fails(self) -> bool:
        """Whether more requests fail than an accident explains."""
        return self.failures > max(_FAILURES_AT_LEAST, _FAILURES_SHARE * self.answers)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server under load until SIGTERM; returns 0, or 1 with one sentence where the server fails."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = _parser().parse_args(arguments[:cut]), arguments[cut + 1 :]
    if not command:
        _parser().error("give the server's command behind --")
    port = str(_free_port())
    body = os.urandom(options.body_bytes) if options.body_bytes else None
    load = _Load(options.url.replace(PORT, port), body, options.timeout)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: load.stopping.set())
    environment = {name: value for name, value in os.environ.items() if name != "BAYESTUNER_FD"}
    try:
        server = subprocess.Popen([word.replace(PORT, port) for word in command], env=environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        problem: str | None = f"the server's program {command[0]!r} can't be started: {error.strerror or error}"
    else:
        with _stopped_at_last(server):
            problem = _first_answer(load, server) or _drive(load, server, options)
    if problem is not None:
        print(f"{_MODULE}: {problem}", file=sys.stderr)
    return int(problem is not None)


def _first_answer(load: _Load, server: subprocess.Popen[bytes]) -> str | None:
    """Wait until the server answers; what went wrong, or None."""
    threading.Thread(target=load.ask_until_answered, daemon=True).start()
    what = f"{load.method} {load.url}"
    while not load.answering.wait(_POLL_S):
        waits_s = time.monotonic() - load.asked_s
        last = load.last_failure if waits_s < _LONG_S and load.last_failure else f"a request without an answer for {waits_s:.1f} s"
        if load.stopping.is_set():
            return f"stopped before {what} was answered with status 200; at last: {last}"
        if server.poll() is not None:
            return f"the server ended with {_end_words(server)} before it answered {what} with status 200; at last: {last}"
        if load.refused_since_s is not None and time.monotonic() - load.refused_since_s > _REFUSED_S:
            return (
                f"the server answers {what} with {last} and not with 200; give a path and query that it serves in --url, "
                "and --body-bytes for a POST"
            )
    return None


def _drive(load: _Load, server: subprocess.Popen[bytes], options: argparse.Namespace) -> str | None:
    """Load the server until the end; what went wrong, or None."""
    alone = "BAYESTUNER_FD" not in os.environ
    if alone:
        arrivals_words = "as fast as answered" if options.rate is None else f"{options.rate:g} a second, arriving at random"
        print(f"{load.url} answers; now requests from {options.clients} clients, {arrivals_words}", flush=True)
    ready()
    began_s = time.monotonic()
    arrivals = _Arrivals(options.rate, options.seed)
    clients = [threading.Thread(target=load.client, args=(arrivals,), daemon=True) for _ in range(options.clients)]
    for client in clients:
        client.start()
    end_s = began_s + (options.seconds or float("inf"))
    parent = os.getppid()
    problem = None
    while problem is None and time.monotonic() < end_s and os.getppid() == parent and not load.stopping.wait(_POLL_S):
        if server.poll() is not None:
            problem = f"the server ended with {_end_words(server)} under load"
        elif load.fails:
            problem = f"{load.failures} requests failed and {load.answers} were answered; the last failure: {load.last_failure}"
    load.stopping.set()
    took_s = time.monotonic() - began_s
    for client in clients:
        client.join(_STOP_S)
    if alone:
        print(_figures(load, took_s), flush=True)
    return problem


def _figures(load: _Load, took_s: float) -> str:
    """What was measured, for people."""
    rate = f"{load.answers} answers in {took_s:.1f} s, {load.answers / took_s:.4g} a second; {load.failures} requests failed"
    if len(load.latencies_s) < 2:
        return rate
    cuts = statistics.quantiles(load.latencies_s, n=100, method="inclusive")
    p50, p90, p99 = (1e3 * cuts[n - 1] for n in (50, 90, 99))
    return f"{rate}\nlatency p50 {p50:.4g} ms, p90 {p90:.4g} ms, p99 {p99:.4g} ms, longest {1e3 * max(load.latencies_s):.4g} ms"


def _end_words(server: subprocess.Popen[bytes]) -> str:
    status = server.returncode
    return f"signal {signal.Signals(-status).name}" if -status in list(signal.Signals) else f"exit status {status}"


@contextlib.contextmanager
def _stopped_at_last(server: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        server.terminate()
        try:
            server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_MODULE}",
        description="Start an HTTP server, drive it over loopback and report every answer.",
        epilog=f"Behind -- stands the server's command. {PORT} in it and in the URL becomes a free port.",
        allow_abbrev=False,
    )
    parser.add_argument("--url", type=_url, required=True, help="http:// only; its query is sent too")
    parser.add_argument("--clients", type=_count, default=8, metavar="N", help="connections, and most requests under way (default 8)")
    parser.add_argument(
        "--rate", type=_positive, metavar="R", help="requests per second, arriving at random (default: as fast as answered)"
    )
    parser.add_argument("--body-bytes", type=int, default=0, metavar="N", help="POST so many bytes; 0 (the default) sends GET")
    parser.add_argument("--timeout", type=_positive, default=30.0, metavar="S", help="for a whole answer (default 30)")
    parser.add_argument("--seconds", type=_positive, metavar="S", help="stop after S seconds (default: at SIGTERM)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (default 0)")
    return parser


def _url(text: str) -> str:
    try:
        parts = urlsplit(text.replace(PORT, "1"))
        fits = parts.scheme == "http" and bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError:
        fits = False
    if not fits or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"expected a URL that begins with http://, such as http://127.0.0.1:{PORT}/infer, not {text!r}")
    return text


def _count(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, not {text!r}")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
