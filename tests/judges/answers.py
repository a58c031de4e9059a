"""Reads what a gateway has answered out of the bytes of a connection."""

from __future__ import annotations

from tests.support.http_harness import Response


def split_answers(received: bytes) -> list[Response]:
    """Return the complete answers.

    One to a HEAD announces a body and has none: the next answer follows at once, or nothing.
    """
    answers = []
    while b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        is_without_body = not rest or rest.startswith(b"HTTP/1.1 ")
        length = 0 if is_without_body else int(headers.get("content-length", 0))
        if len(rest) < length:
            break
        status = int(first.split()[1])
        if status != 100:
            answers.append(Response(status, headers, rest[:length]))
        received = rest[length:]
    return answers
