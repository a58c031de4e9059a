"""Unit tests of `multipart/form-data`: what clients send is read, anything else is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server import Binary
from basic_inference_server.core.errors import BadInput
from basic_inference_server.serving.multipart import MAX_PARTS, STEP_BYTES, read_multipart

TYPE = "multipart/form-data; boundary=b"
SETTINGS = settings(deadline=None, max_examples=60, database=None)


def part(disposition: str, content: bytes = b"x", *more: str) -> bytes:
    lines = [f"Content-Disposition: form-data{disposition}", *more, "", ""]
    return "\r\n".join(lines).encode() + content


def body_of(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + one + b"\r\n" for one in parts) + b"--b--\r\n"


def read(body: bytes, content_type: str = TYPE) -> dict[str, Any]:
    return read_multipart(content_type, memoryview(body))


def shown(value: Any) -> Any:
    """Return a value that can be compared."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, Binary):
        return bytes(value), value.content_type, value.file_name
    return value


def test_texts_and_files_come_by_their_names() -> None:
    """A file with its type and name, several of one name as a list in their order."""
    found = read(
        body_of(
            part('; name="WORDS"', "été".encode()),
            part('; name="FILE"; filename="a.png"', b"\0\xff", "Content-Type: image/png"),
            part('; name="MORE"; filename="1"', b"1"),
            part('; name="MORE"', b"2"),
            part('; name="MORE"; filename="3"', b""),
            part('; name=""', b"nameless"),
        )
    )
    octets = "application/octet-stream"
    assert {
        "WORDS": "été",
        "FILE": (b"\0\xff", "image/png", "a.png"),
        "MORE": [(b"1", octets, "1"), "2", (b"", octets, "3")],
        "": "nameless",
    } == {name: shown(value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("sent", "name"),
    [("../../etc/passwd", "passwd"), ("C:\\a\\b.txt", "b.txt"), ("a/", None), ("..", ".."),
     ("été.png", "été.png"), ("nul\0byte", "nulbyte")],
)  # fmt: skip
def test_file_name_is_never_a_path(sent: str, name: str | None) -> None:
    """Whoever saves a file under it stays in the folder."""
    escaped = sent.replace("\\", "\\\\")
    found = read(body_of(part(f'; name="F"; filename="{escaped}"')))
    assert name == found["F"].file_name


def test_file_without_a_type_is_octets() -> None:
    """No header, and one with nothing in it."""
    for headers in ((), ("Content-Type:",)):
        found = read(body_of(part('; name="F"; filename="f"', b"x", *headers)))
        assert "application/octet-stream" == found["F"].content_type


def test_body_of_requests_is_read_back() -> None:
    """What a popular client makes of fields and files."""
    prepared = requests.Request(
        "POST", "http://localhost/",
        data={"A": "1", "B": ["x", "y"], "ü": "ö\r\n--"},
        files=[("F", ("a b.bin", b"\r\n--\0" * 1000, "x/y")), ("F", ("ü.txt", b"", None))],
    ).prepare()  # fmt: skip
    assert isinstance(prepared.body, bytes)
    found = read(prepared.body, prepared.headers["Content-Type"])
    assert {
        "A": "1", "B": ["x", "y"], "ü": "ö\r\n--",
        "F": [(b"\r\n--\0" * 1000, "x/y", "a b.bin"),
              (b"", "application/octet-stream", "ü.txt")],
    } == {name: shown(value) for name, value in found.items()}  # fmt: skip


@SETTINGS
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=8))
def test_any_contents_survive(parts: list[tuple[bool, bytes]]) -> None:
    """Line ends, hyphens and what looks like a boundary too."""
    sent = [
        part('; name="F"; filename="f"', content)
        if is_file
        else part('; name="F"', content.hex().encode())
        for is_file, content in parts
        if b"--b" not in content
    ]
    expected = [
        content if is_file else content.hex().encode()
        for is_file, content in parts
        if b"--b" not in content
    ]
    got = read(body_of(*sent)).get("F", []) if sent else []
    values = got if isinstance(got, list) else [got]
    assert expected == [one.encode() if isinstance(one, str) else bytes(one) for one in values]


@pytest.mark.parametrize("size", [STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES])
def test_large_contents_survive_wherever_a_step_ends(size: int) -> None:
    """A body is read in steps; the boundary may lie across two of them."""
    for shift in range(-60, 10, 7):
        content = (b"\r\n-" * size)[: size + shift]
        found = read(body_of(part('; name="F"; filename="f"', content), part('; name="A"')))
        assert (content, "x") == (bytes(found["F"]), found["A"])


@pytest.mark.parametrize(
    ("content_type", "because"),
    [
        ("multipart/form-data", "boundary"),
        ("multipart/form-data; boundary=", "boundary"),
        ('multipart/form-data; boundary=""', "boundary"),
        ("multipart/form-data; boundary=" + "b" * 71, "boundary"),
        ("multipart/form-data; boundary=é", "boundary"),
        ("multipart/form-data; boundary=other", "cannot be read"),
        ('multipart/form-data; boundary="(.*)"', "cannot be read"),
    ],
)
def test_boundary_that_is_none_is_refused(content_type: str, because: str) -> None:
    """None, an empty one, one too long, and one that is not in the body."""
    with pytest.raises(BadInput, match=because):
        read(body_of(part('; name="A"')), content_type)


def test_body_that_breaks_off_anywhere_is_refused() -> None:
    """No part of it counts when the end is missing."""
    body = body_of(part('; name="A"'), part('; name="F"; filename="f"', b"content"))
    for cut in range(len(body) - len(b"\r\n")):
        with pytest.raises(BadInput):
            read(body[:cut])


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"X: y\r\n\r\nabc", id="no disposition"),
        pytest.param(b"\r\n\r\nabc", id="no header"),
        pytest.param(part(""), id="no name"),
        pytest.param(b"no colon\r\n\r\nabc", id="no colon"),
        pytest.param(b'Content-Disposition: form-data; name="\xff"\r\n\r\nx', id="name no text"),
        pytest.param(part('; name="A"', b"\xff"), id="field no text"),
        pytest.param(b"Content-Disposition:\r\n\r\nx", id="empty disposition"),
    ],
)
def test_part_that_is_none_is_refused(broken: bytes) -> None:
    """The whole request is: half of it would be another one."""
    with pytest.raises(BadInput, match=r"multipart|UTF-8"):
        read(body_of(part('; name="A"'), broken))


def test_parts_without_end_are_refused() -> None:
    """A thousand is enough for anybody, and costs little."""
    parts = [part(f'; name="{number}"') for number in range(MAX_PARTS)]
    assert MAX_PARTS == len(read(body_of(*parts)))
    with pytest.raises(BadInput, match="at most 1000 parts"):
        read(body_of(*parts, part('; name="more"')))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body_of(part("; a=b" * 100_000)), id="parameters"),
        pytest.param(body_of(b"A: b\r\n" * 100_000), id="headers"),
        pytest.param(body_of(part('; name="' + "a" * 500_000)), id="name"),
        pytest.param(b"a" * 500_000 + body_of(part('; name="A"')), id="what comes before"),
    ],
)
def test_head_without_end_is_refused(body: bytes) -> None:
    """Ten megabytes of it would hold the worker for many seconds."""
    with pytest.raises(BadInput, match="head above 131072 bytes"):
        read(body)


@settings(deadline=None, max_examples=300, database=None)
@given(st.data())
def test_damaged_bodies_are_read_or_refused(data: st.DataObject) -> None:
    """Nothing else is raised, whatever bytes come: it would end the worker."""
    body = bytearray(
        body_of(
            part('; name="A"', b"text"),
            part("; name*=UTF-8''F; filename*=UTF-8''f", b"bytes", "Content-Type: a/b; c=d"),
        )
    )
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"--b", b"\r\n", b'"', b"\\"]))
        body[place : place + data.draw(st.integers(0, 4))] = piece
    with suppress(BadInput):
        assert isinstance(read(bytes(body)), dict)
