"""The driver's side of a peer: its process, the lines exchanged, and runs on a table."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import numpy as np

from benchmarks.peers.table import Message, Table

PATIENCE_S = 300.0
LOG_LINES = 4  # of its log that an error shows


class PeerFailed(RuntimeError):
    """The peer's process ended, was silent for too long, or said what can't be used."""


def end_peers_too() -> None:
    """Let SIGTERM unwind this process as Ctrl-C does, so that a peer in the middle of a suggestion is not left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@dataclass
class Replay:
    """One run on a table: rows in the order tried, seconds to each suggestion, how many were snapped.

    `arrived_s` counts from the start of the process to each suggestion's arrival here.
    """

    rows: list[int] = field(default_factory=list)
    suggest_s: list[float] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    snapped: int = 0


class Session:
    """A peer's process, ready for one run after another; a context manager.

    Parameters
    ----------
    command : sequence of str
        Ends in `host.py` and its arguments; see there for the lines.
    environment : mapping
    log : Path
        Takes its standard error, and with it whatever the peer prints.
    patience_s : float
        For each answer. After it the process is killed.

    Attributes
    ----------
    versions : dict
        Package -> version, as the peer reports.
    import_s : float
        Seconds the peer's import took.

    Raises
    ------
    PeerFailed
        Here and from `replay`; the process is gone then.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, patience_s: float = PATIENCE_S) -> None:
        self._patience_s, self._log = patience_s, log
        self.started = time.perf_counter()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        ready = self._receive()
        self.versions: dict[str, str] = ready["ready"]
        self.import_s: float = ready["import_s"]

    def replay(self, table: Table, seed: int, budget: int, given: Sequence[int] = ()) -> Replay:
        """Let the peer try up to `budget` rows, after those `given`; each suggestion that can't be run is snapped."""
        done, tried = Replay(), np.zeros(len(table.codes), dtype=np.bool_)
        tried[list(given)] = True
        self._send(table.message(seed, budget + len(given), given))
        for _ in range(min(budget, int((~tried).sum()))):
            if done.rows:
                self._send(table.result(done.rows[-1]))
            answer = self._receive()
            arrived = time.perf_counter() - self.started
            try:
                row, snapped = table.snap(answer["ask"], tried)
            except (ValueError, IndexError) as error:
                raise self._failed(str(error)) from None
            tried[row] = True
            done.arrived_s.append(arrived)
            done.rows.append(row)
            done.suggest_s.append(float(answer["seconds"]))
            done.snapped += snapped
        return done

    def peak_rss_bytes(self) -> int:
        """Most memory the process has held so far; its own, without what it shared with us before it started."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # it died before it read all we said
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- the lines ----------------------------------------------------------------------------------------------------

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put("")

    def _send(self, message: Message) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("its process ended") from None

    def _receive(self) -> Message:
        try:
            line = self._lines.get(timeout=self._patience_s)
        except queue.Empty:
            raise self._failed(f"no answer within {self._patience_s:g} s") from None
        if not line:
            raise self._failed("its process ended")
        message: Message = json.loads(line)
        return message

    def _failed(self, why: str) -> PeerFailed:
        self.close()
        last = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return PeerFailed("\n    ".join([f"{why}; the end of {self._log.name}:", *last]))
