"""HTTP requests whose answers end in bounded time and size, whatever the server sends. Standard library only."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

from bayestuner.foreign_text import harmless

MAX_ANSWER_BYTES = 64 << 20
"""A longer answer, head and body, is a failure: a broken server must not take the run's memory."""

_PIECE_BYTES = 65536


def connect(host: str, port: int, timeout_s: float) -> http.client.HTTPConnection:
    """A connection, opened at its first request; `timeout_s` is for each whole answer."""
    made = http.client.HTTPConnection(host, port, timeout=timeout_s)
    made.response_class = _Response
    return made


def ask(connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None) -> tuple[int | None, str | None]:
    """Send one request, read its answer and forget it.

    Returns
    -------
    (int or None, str or None)
        The answer's status, None where there is none; and what went wrong, None of a whole answer with status 200.
    """
    reused = connection.sock is not None
    try:
        try:
            status = _answer(connection, method, target, body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            if not reused:
                raise
            connection.close()  # a server may end a connection that was idle; whether it did shows only when it is used
            status = _answer(connection, method, target, body)
    except (OSError, http.client.HTTPException, ValueError, OverflowError, MemoryError) as error:
        connection.close()
        return None, harmless(f"{type(error).__name__}: {error}")[:200]
    if status == http.client.OK:
        return status, None
    return status, f"status {status} {http.client.responses.get(status, '')}".rstrip()


def _answer(connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None) -> int:
    """Status of the answer to one request, all of it read."""
    if connection.sock is not None:
        connection.sock.settimeout(connection.timeout)
    connection.request(method, target, body)
    answer = connection.getresponse()
    while answer.read(_PIECE_BYTES):
        pass
    if answer.length:  # http.client says nothing of a body that ends early when it is read in pieces
        raise http.client.HTTPException(f"the answer ended {answer.length} bytes early")
    return answer.status


class _BoundedAnswer(io.RawIOBase):
    """What a socket gives for one answer, for `MAX_ANSWER_BYTES` bytes and as long as the socket's timeout in all at the longest."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock
        self._timeout_s = sock.gettimeout() or 0.0
        self._end_s = time.monotonic() + self._timeout_s
        self._bytes_left = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"no whole answer within {self._timeout_s:g} s")
        if self._bytes_left <= 0:
            raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
        self._socket.settimeout(left_s)
        n: int | None = self._raw.readinto(buffer)
        self._bytes_left -= n or 0
        return n

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that ends in bounded time and size, whatever the server sends."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = io.BufferedReader(_BoundedAnswer(self.fp.detach(), sock))
