"""Unit tests of the frames between gateway and worker: whole or nothing, at every byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.wire.frames import (
    MAX_MICROSECONDS,
    REPLY_HEADER_BYTES,
    REQUEST_HEADER_BYTES,
    Accepts,
    FrameError,
    RequestFrame,
    decode_reply_header,
    decode_request,
    encode_reply,
    encode_request,
    request_length,
)

IDS = st.text("abcXYZ019._:/+=-", min_size=1, max_size=128)
TYPES = st.text(st.characters(max_codepoint=255), max_size=60)
INSTANTS = st.integers(0, 2**63 - 1)
BODIES = st.binary(max_size=300)
PHASES = st.tuples(*[st.integers(0, MAX_MICROSECONDS)] * 4)


def request_bytes(body: bytes = b'{"SIGNATURE":"demo"}') -> bytes:
    return encode_request(b"id-1", b"application/json", len(body), 2000, 1000, depth=2) + body


@settings(deadline=None, max_examples=100, database=None)
@given(IDS, TYPES, BODIES, INSTANTS, INSTANTS, st.integers(0, 255), st.sampled_from(Accepts))
def test_request_survives_its_journey(
    request_id: str,
    content_type: str,
    body: bytes,
    deadline_ns: int,
    sent_ns: int,
    depth: int,
    accepts: Accepts,
) -> None:
    """The worker sees exactly what the gateway sent."""
    fields = body[::-1]
    head = encode_request(
        request_id.encode(), content_type.encode("latin-1"), len(body), deadline_ns, sent_ns,
        depth, accepts, fields,
    )  # fmt: skip
    decoded = decode_request(bytearray(head + body))
    expected = RequestFrame(
        request_id, content_type, memoryview(body), deadline_ns, sent_ns, depth, accepts, fields
    )
    assert expected == decoded


@settings(deadline=None, max_examples=100, database=None)
@given(st.integers(100, 599), TYPES, BODIES, PHASES, st.booleans())
def test_reply_survives_its_journey(
    status: int,
    content_type: str,
    body: bytes,
    phases_us: tuple[int, int, int, int],
    failed: bool,
) -> None:
    """The gateway sees exactly what the worker answered."""
    kind = content_type.encode("latin-1")
    frame = encode_reply(status, kind, body, phases_us, failed=failed)
    header = decode_reply_header(frame)
    assert header is not None
    assert (status, phases_us, failed, len(body)) == (
        header.status,
        (header.queue_us, header.pre_us, header.predict_us, header.post_us),
        header.failed,
        header.body_length,
    )
    assert (kind, body) == (frame[REPLY_HEADER_BYTES : header.body_at], frame[header.body_at :])


def test_request_cut_at_any_byte_never_decodes() -> None:
    """A request of which something is missing is not executed, wherever it was cut."""
    whole = request_bytes()
    for cut in range(len(whole)):
        with pytest.raises(FrameError):
            decode_request(whole[:cut])


def test_request_with_a_byte_too_many_never_decodes() -> None:
    """A connection carries one request, so what follows is an error."""
    with pytest.raises(FrameError, match="not one complete request frame"):
        decode_request(request_bytes() + b"\0")


def test_length_is_known_as_soon_as_the_header_is() -> None:
    """Up to the header more is needed; from then on the whole length is known."""
    whole = request_bytes()
    lengths = [request_length(whole[:cut]) for cut in range(len(whole) + 1)]
    unknown = [0] * REQUEST_HEADER_BYTES
    known = [len(whole)] * (len(whole) + 1 - REQUEST_HEADER_BYTES)
    assert [*unknown, *known] == lengths


def test_reply_header_is_known_as_soon_as_it_is_there() -> None:
    """A reply in pieces is never misread."""
    whole = encode_reply(200, b"application/json", b"{}", (1, 2, 3, 4))
    for cut in range(len(whole) + 1):
        header = decode_reply_header(whole[:cut])
        assert (cut >= REPLY_HEADER_BYTES) is (header is not None)


@pytest.mark.parametrize("place", range(5), ids=["B", "I", "S", "q", "version"])
def test_request_of_another_protocol_or_version_is_refused(place: int) -> None:
    """Magic and version are looked at before any length is believed."""
    whole = bytearray(request_bytes())
    whole[place] ^= 0xFF
    with pytest.raises(FrameError, match="not a request frame of this version"):
        request_length(whole)
    with pytest.raises(FrameError):
        decode_request(whole)


@pytest.mark.parametrize("place", range(5), ids=["B", "I", "S", "r", "version"])
def test_reply_of_another_protocol_or_version_is_refused(place: int) -> None:
    """A reply of another version is no reply."""
    whole = bytearray(encode_reply(200, b"", b"", (0, 0, 0, 0)))
    whole[place] ^= 0xFF
    with pytest.raises(FrameError, match="not a reply frame of this version"):
        decode_reply_header(whole)


def test_request_is_no_reply_and_the_other_way_round() -> None:
    """The two directions cannot be mistaken for each other."""
    with pytest.raises(FrameError):
        decode_reply_header(request_bytes())
    with pytest.raises(FrameError):
        decode_request(encode_reply(200, b"", b"x" * 100, (0, 0, 0, 0)))


@settings(deadline=None, max_examples=100, database=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    """Nothing that arrives raises anything else."""
    with pytest.raises(FrameError):
        decode_request(data)
    if len(data) >= REPLY_HEADER_BYTES:
        with pytest.raises(FrameError):
            decode_reply_header(data)


def test_request_id_that_is_not_ascii_is_a_frame_error() -> None:
    """A frame with a wrong id is a broken frame and does not end the worker."""
    whole = encode_request("é".encode(), b"", 0, 1, 1)
    with pytest.raises(FrameError):
        decode_request(whole)


def test_body_is_not_copied() -> None:
    """A body of many megabytes is looked at where it was received."""
    whole = bytearray(request_bytes(b"x" * 10))
    body = decode_request(whole).body
    whole[-1:] = b"y"
    assert b"xxxxxxxxxy" == bytes(body)
