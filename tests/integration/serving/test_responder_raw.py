"""Raw bytes through a worker's responder: in as `BODY` or files, out as a `Binary`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server import Binary
from tests.support.event_stream import parse_lines
from tests.support.responder_desk import LARGE, Desk, counting


def test_raw_body_goes_in_and_binary_comes_out(desk: Desk) -> None:
    """With type and name, not a byte changed."""
    content = bytes(range(256)) * 4096

    def predict(inputs: Any) -> Binary:
        assert ({"SIGNATURE": "demo", "A": "1"}, "image/png") == (
            {name: inputs[name] for name in ("SIGNATURE", "A")}, inputs["BODY"].content_type,
        )  # fmt: skip
        return Binary(inputs["BODY"].content, "audio/wav", "naïve.wav")

    reply = desk.answer(predict, body=content, content_type=b"image/png", fields=b'{"A":"1"}')
    assert reply.header is not None
    assert (200, "audio/wav", "naïve.wav") == (
        reply.header.status, reply.content_type, reply.file_name,
    )  # fmt: skip
    assert content == reply.body


def _file(path: Path, _inputs: Any) -> Binary:
    return Binary.of_file(path)


def test_binary_of_a_file_is_sent(desk: Desk, tmp_path: Path) -> None:
    """Mapped, also an empty one."""
    for content in (b"", b"abc", bytes(LARGE)):
        path = tmp_path / "file.bin"
        path.write_bytes(content)
        reply = desk.answer(partial(_file, path))
        assert (content, "file.bin") == (bytes(reply.body), reply.file_name)


def test_binary_within_an_answer_or_an_item_is_base64(desk: Desk) -> None:
    """JSON has no bytes."""
    binary = Binary(b"\0\xff", "image/png")
    whole = desk.answer(lambda _: {"picture": binary})
    assert "AP8=" == json.loads(whole.body)["picture"]
    assert ["AP8=", {"a": "AP8="}] == parse_lines(
        bytes(desk.answer(counting(binary, {"a": binary})).body)
    )


@pytest.mark.parametrize(
    "result",
    [Binary(memoryview(b"abcd")[::2]), Binary(b"x", "a\r\nb"), Binary(b"x", 5)],  # type: ignore[arg-type]
    ids=["with gaps", "two lines", "number"],
)
def test_binary_that_cannot_be_sent_is_the_endpoints_failure(desk: Desk, result: Binary) -> None:
    """And ends no worker."""
    reply = desk.answer(lambda _: result)
    assert reply.header is not None
    assert 500 == reply.header.status
    assert "returned a Binary that cannot be sent" in json.loads(reply.body)["ERROR"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(b"multipart/form-data", b""), (b"multipart/form-data; boundary=b", b"--b\r\n"),
     (b"multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\n\r\n--b--\r\n")],
    ids=["no boundary", "broken off", "no name"],
)  # fmt: skip
def test_multipart_that_is_none_is_the_callers_mistake(
    desk: Desk, content_type: bytes, body: bytes
) -> None:
    """422, nothing is executed."""
    called: list[Any] = []
    reply = desk.answer(called.append, content_type=content_type, body=body)
    assert reply.header is not None
    assert (422, "bad_input", []) == (reply.header.status, json.loads(reply.body)["code"], called)
    assert (1, 0) == desk.counted
