"""Streamed answers are taken apart the same, however their bytes arrive."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

parts: Any = import_module("stream_parts")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LINES = b'{"n": 0}\n{"n": 1}\n{"done": true, "items": 2}\n'
EVENTS = b'event: message\ndata: {"n": 0}\n\nevent: message\ndata: {"n": 1}\n\n'


def chunks(*pieces: bytes) -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def fed(answer_bytes: bytes, size: int) -> Any:
    """Return the answer, fed in pieces of that many bytes."""
    answer = parts.StreamedAnswer()
    for at in range(0, len(answer_bytes), size):
        answer.feed(answer_bytes[at : at + size])
    return answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_chunks_may_be_cut_anywhere(size: int) -> None:
    """In a head, in a size, in a line; a line may also lie in two chunks."""
    answer = fed(CHUNKED + chunks(LINES[:4], LINES[4:13], LINES[13:]), size)
    assert (200, True, True) == (answer.status, answer.is_complete, answer.keeps_alive)
    assert [0, 1] == answer.items.numbers
    assert [b'{"done": true, "items": 2}'] == answer.items.extra


def test_item_counts_before_the_answer_is_complete() -> None:
    """Its time of arrival is what is measured."""
    answer = parts.StreamedAnswer()
    answer.feed(CHUNKED + b'9\r\n{"n": 0}\n\r\n')
    assert ([0], False) == (answer.items.numbers, answer.is_complete)


def test_server_sent_events_are_items_too() -> None:
    """The name of an event is not."""
    answer = fed(CHUNKED + chunks(EVENTS), 5)
    assert [0, 1] == answer.items.numbers
    assert [b"event: message"] * 2 == answer.items.extra


def test_body_with_a_length_ends_there() -> None:
    """An error comes so, for instance."""
    body = b'{"ERROR": "no"}'
    head = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: %d\r\n\r\n" % len(body)
    answer = fed(head + body, 4)
    assert (500, True) == (answer.status, answer.is_complete)
    assert ([], [body]) == (answer.items.numbers, answer.items.extra)


def test_body_without_a_length_ends_with_the_connection() -> None:
    """Its last line may lack its end."""
    answer = fed(HEAD + b"\r\n" + LINES.strip(), 6)
    assert not answer.is_complete
    answer.close()
    assert (True, False, [0, 1]) == (answer.is_complete, answer.keeps_alive, answer.items.numbers)


@pytest.mark.parametrize(
    "beginning",
    [b"", HEAD, CHUNKED, CHUNKED + chunks(LINES)[:-5], HEAD + b"Content-Length: 9\r\n\r\n{"],
)
def test_answer_that_is_cut_is_an_error(beginning: bytes) -> None:
    """Nobody counts the items of half an answer."""
    answer = fed(beginning, 1000)
    with pytest.raises(parts.StreamError, match="cut after"):
        answer.close()


@pytest.mark.parametrize("data", [b"hello\r\n\r\n", CHUNKED + b"xyz\r\nabc\r\n"])
def test_what_is_no_http_is_an_error(data: bytes) -> None:
    """Neither a head nor a chunk is guessed."""
    with pytest.raises(parts.StreamError, match="no "):
        parts.StreamedAnswer().feed(data)
