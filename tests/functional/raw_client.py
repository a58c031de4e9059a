"""A client that sends bytes as they are: half requests, wrong ones, slow ones."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, parse_headers
from types import TracebackType
from typing import Any

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RawAnswer:
    """One HTTP answer; the attributes are named as those of `requests.Response`."""

    status_code: int
    headers: HTTPMessage
    content: bytes

    def json(self) -> Any:
        """Return the body's JSON value."""
        return json.loads(self.content)


class RawClient:
    """One TCP connection to a gateway, closed at the end of its `with` block."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def send_json(self, path: str, fields: Mapping[str, Any]) -> None:
        """Send a whole POST with JSON."""
        body = json.dumps(fields).encode()
        self.send(head("POST", path, ("Content-Type", "application/json"), length=len(body)) + body)

    def end_sending(self) -> None:
        """Close this side for writing; the answer can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def read_answer(self, method: str = "POST") -> RawAnswer:
        """Read one answer; raises when there is none within the time."""
        while True:
            line = self._file.readline().split(maxsplit=2)
            if not line:
                raise ConnectionError("the connection was closed instead of an answer")
            status, headers = int(line[1]), parse_headers(self._file)
            if status != 100:
                break
        length = headers.get("Content-Length")
        if method == "HEAD" or status == 204:
            return RawAnswer(status, headers, b"")
        body = self._file.read() if length is None else self._file.read(int(length))
        return RawAnswer(status, headers, body)

    def read_rest(self) -> bytes:
        """Read to the end of the connection."""
        return self._file.read()

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()


def head(method: str, path: str, *headers: tuple[str, str], length: int | None = None) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
