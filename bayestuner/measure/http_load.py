"""A load generator for jobs that are HTTP servers: starts the server, drives it over loopback, reports every answer with its latency.

    python -m bayestuner.measure.http_load --url http://127.0.0.1:@PORT@/infer --rate 25 -- ./server --port @PORT@

It is the job that BayesTuner starts, so server and clients share the run's cores and memory: what the clients use is counted too. With
``--rate`` requests arrive at random (Poisson) whatever the server does, and latency counts from a request's arrival, its wait for a free
client included. Without it every client sends its next request when it has its answer. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from bayestuner.measure.reporter import done, ready

_PORT = "@PORT@"
_POLL_S = 0.05
_STOP_S = 5.0
_FAILURES_AT_LEAST = 3
_FAILURES_SHARE = 0.01


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
    """

    def __init__(self, url: str, body: bytes | None, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._path = parts.path or "/"
        self._body = body
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.answers = 0
        self.failures = 0
        self.last_failure = ""

    def ask(self, connection: http.client.HTTPConnection) -> str | None:
        """Send one request and read its answer; what went wrong, or None."""
        try:
            connection.request("GET" if self._body is None else "POST", self._path, self._body)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return f"{type(error).__name__}: {error}"
        return None if answer.status == http.client.OK else f"status {answer.status}"

    def connection(self) -> http.client.HTTPConnection:
        """A connection of one client."""
        return http.client.HTTPConnection(*self._address, timeout=self._timeout_s)

    def client(self, arrivals: _Arrivals) -> None:
        """Send requests until stopped."""
        connection = self.connection()
        while not self.stopping.is_set():
            arrived_s = arrivals.take()
            if self.stopping.wait(max(0.0, arrived_s - time.monotonic())):
                break
            problem = self.ask(connection)
            with self._lock:  # a stamp is taken and written before the next
                if problem is None:
                    self.answers += 1
                    done(1, time.monotonic() - arrived_s)
                else:
                    self.failures += 1
                    self.last_failure = problem
        connection.close()

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
    load = _Load(options.url.replace(_PORT, port), body, options.timeout)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: load.stopping.set())
    with _server([word.replace(_PORT, port) for word in command]) as server:
        problem = _drive(load, server, options)
    if problem is not None:
        print(f"bayestuner.measure.http_load: {problem}", file=sys.stderr)
    return int(problem is not None)


def _drive(load: _Load, server: subprocess.Popen[bytes], options: argparse.Namespace) -> str | None:
    """Wait for the server, load it until the end; what went wrong, or None."""
    first = load.connection()
    while load.ask(first) is not None:
        if server.poll() is not None:
            return f"the server ended with exit status {server.returncode} before it answered"
        if load.stopping.wait(_POLL_S):
            return None
    first.close()
    ready()
    arrivals = _Arrivals(options.rate, options.seed)
    clients = [threading.Thread(target=load.client, args=(arrivals,), daemon=True) for _ in range(options.clients)]
    for client in clients:
        client.start()
    end_s = time.monotonic() + (options.seconds or float("inf"))
    parent = os.getppid()
    problem = None
    while problem is None and time.monotonic() < end_s and os.getppid() == parent and not load.stopping.wait(_POLL_S):
        if server.poll() is not None:
            problem = f"the server ended with exit status {server.returncode} under load"
        elif load.fails:
            problem = f"{load.failures} requests failed and {load.answers} were answered; the last failure: {load.last_failure}"
    load.stopping.set()
    for client in clients:
        client.join(_STOP_S)
    return problem


@contextlib.contextmanager
def _server(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if name != "BAYESTUNER_FD"}
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield server
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
        prog="python -m bayestuner.measure.http_load",
        description="Start an HTTP server, drive it over loopback and report every answer.",
        epilog=f"Behind -- stands the server's command. {_PORT} in it and in the URL becomes a free port.",
        allow_abbrev=False,
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--clients", type=_count, default=8, metavar="N", help="connections, and most requests under way (default 8)")
    parser.add_argument(
        "--rate", type=_positive, metavar="R", help="requests per second, arriving at random (default: as fast as answered)"
    )
    parser.add_argument("--body-bytes", type=int, default=0, metavar="N", help="POST so many bytes; 0 (the default) sends GET")
    parser.add_argument("--timeout", type=_positive, default=30.0, metavar="S", help="for an answer (default 30)")
    parser.add_argument("--seconds", type=_positive, metavar="S", help="stop after S seconds (default: at SIGTERM)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (default 0)")
    return parser


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
