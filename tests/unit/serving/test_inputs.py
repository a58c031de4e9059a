"""Unit tests of frames as inputs and inputs as frames: JSON, raw bodies, files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from basic_inference_server import Binary
from basic_inference_server.core.errors import BadInput, BadJson
from basic_inference_server.serving.inputs import read_inputs, written_inputs
from basic_inference_server.wire.frames import (
    MAX_FIELDS_BYTES,
    RequestFrame,
    decode_request,
    encode_request,
)


def frame_of(content_type: str, body: bytes = b"", fields: bytes = b"") -> RequestFrame:
    head = encode_request(
        b"id", content_type.encode("latin-1"), len(body), 2, 1, fields=fields
    )  # fmt: skip
    return decode_request(bytearray(head + body))


@pytest.mark.parametrize("body", [b'{"A":1}', b'{"A":1,"SIGNATURE":"other"}'])
def test_json_is_the_inputs_and_the_signature(body: bytes) -> None:
    """The endpoint's own, whether its name was in the path or the request says another."""
    assert {"A": 1, "SIGNATURE": "demo"} == read_inputs(frame_of("application/json", body), "demo")
    with pytest.raises(BadJson):
        read_inputs(frame_of("application/json", b"{"), "demo")


def test_raw_body_is_a_binary_beside_the_fields_of_the_query() -> None:
    """A view of what was received, under its type."""
    inputs = read_inputs(frame_of("image/png", b"\0\xff", b'{"TOP":"3"}'), "demo")
    body = inputs.pop("BODY")
    assert {"SIGNATURE": "demo", "TOP": "3"} == inputs
    assert (b"\0\xff", "image/png", None) == (bytes(body), body.content_type, body.file_name)
    assert isinstance(body.content, memoryview)


def test_no_field_or_part_passes_for_the_signature() -> None:
    """Neither of the query nor of a form."""
    fields = b'{"SIGNATURE":"query"}'
    assert "demo" == read_inputs(frame_of("image/png", b"x", fields), "demo")["SIGNATURE"]
    part = b'--b\r\nContent-Disposition: form-data; name="SIGNATURE"\r\n\r\nx\r\n--b--\r\n'
    form = frame_of("multipart/form-data; boundary=b", part, fields)
    assert {"SIGNATURE": "demo"} == read_inputs(form, "demo")


def test_raw_body_wins_over_a_field_of_that_name() -> None:
    """A query cannot pass a text off as the body."""
    inputs = read_inputs(frame_of("image/png", b"x", b'{"BODY":"text"}'), "demo")
    assert b"x" == bytes(inputs["BODY"])


def test_raw_body_may_be_empty_and_of_no_type() -> None:
    """It is octets then."""
    body = read_inputs(frame_of(""), "demo")["BODY"]
    assert (0, "application/octet-stream") == (len(body), body.content_type)


def test_multipart_is_its_parts_beside_the_fields_of_the_query() -> None:
    """Under any spelling of the type."""
    body = b'--b\r\nContent-Disposition: form-data; name="A"\r\n\r\nx\r\n--b--\r\n'
    found = read_inputs(
        frame_of("Multipart/Form-Data; boundary=b", body, b'{"A":"query","B":"y"}'), "demo"
    )
    assert {"SIGNATURE": "demo", "A": "x", "B": "y"} == found
    with pytest.raises(BadInput):
        read_inputs(frame_of("multipart/form-data", body), "demo")


def journey(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return inputs as the endpoint gets them that is called with them."""
    content_type, body, fields = written_inputs(inputs, "demo")
    return read_inputs(frame_of(content_type, bytes(body), fields), "demo")


def test_inputs_of_a_call_arrive_as_they_were() -> None:
    """As JSON where there is no raw body; a `Binary` elsewhere is base64 then."""
    assert {"SIGNATURE": "demo", "A": [1, None]} == journey({"A": [1, None]})
    assert {"SIGNATURE": "demo"} == journey({"SIGNATURE": "x"})
    assert {"SIGNATURE": "demo", "F": "AP8="} == journey({"F": Binary(b"\0\xff")})
    assert {"SIGNATURE": "demo", "BODY": "text"} == journey({"BODY": "text"})


@pytest.mark.parametrize("content_type", ["image/png", "application/json", "", "text/plain"])
@pytest.mark.parametrize("content", [b"", b"\0\xff", b"{}", bytearray(b"ab"), memoryview(b"cd")])
def test_raw_body_of_a_call_arrives_as_it_was(content: Any, content_type: str) -> None:
    """Whatever its type says: also JSON that shall be bytes."""
    inputs = journey({"BODY": Binary(content, content_type), "A": 1})
    body = inputs.pop("BODY")
    assert {"SIGNATURE": "demo", "A": 1} == inputs
    assert bytes(content) == bytes(body)
    assert (content_type or "application/octet-stream") == body.content_type


def test_array_as_the_content_is_sent_by_its_bytes() -> None:
    """Anything that has a buffer in one piece."""
    inputs = journey({"BODY": Binary(np.arange(3, dtype="<u2").reshape(3, 1).data)})
    assert b"\0\0\1\0\2\0" == bytes(inputs["BODY"])


@pytest.mark.parametrize(
    "inputs",
    [
        {"A": object()},
        {"BODY": Binary(b"x"), "A": object()},
        {"BODY": Binary(b"x"), "A": "x" * MAX_FIELDS_BYTES},
        {"BODY": Binary("text")},  # type: ignore[arg-type]
        {"BODY": Binary(memoryview(b"abcd")[::2])},
        {"BODY": Binary(b"x", 5)},  # type: ignore[arg-type]
        {"BODY": Binary(b"x", "a/b\r\nc")},
        {"BODY": Binary(b"x", "é" * 70_000)},
    ],
    ids=["JSON", "beside", "too much beside", "text", "with gaps", "number", "lines", "long type"],
)
def test_inputs_that_cannot_be_sent_are_a_type_error(inputs: dict[str, Any]) -> None:
    """Which the caller is told as 422, before anything is sent."""
    with pytest.raises(TypeError):
        written_inputs(inputs, "demo")


def test_fields_beside_a_raw_body_are_one_json_object() -> None:
    """The gateway writes them in the same way."""
    assert {"SIGNATURE": "demo", "A": 1} == json.loads(
        written_inputs({"BODY": Binary(b""), "A": 1}, "demo")[2]
    )
