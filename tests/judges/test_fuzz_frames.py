"""Frames: any bytes are a frame, not one, or the beginning of one; nothing else happens."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.wire.frames import (
    REPLY_HEADER_BYTES,
    REQUEST_HEADER_BYTES,
    ChunkReader,
    FrameError,
    decode_reply_header,
    decode_request,
    encode_chunk,
    encode_reply,
    encode_request,
    request_length,
)
from tests.judges.mutated import mutated

pytestmark = pytest.mark.quick

INSTANTS = st.integers(-(2**63), 2**63 - 1)
MICROSECONDS = st.integers(0, 2**32 - 1)
IDS = st.text(st.characters(codec="ascii"), max_size=40).map(str.encode)
TYPES = st.binary(max_size=40)
BODIES = st.binary(max_size=100)


@st.composite
def request_frames(draw: st.DrawFn) -> bytes:
    """Draw a whole request frame."""
    body = draw(BODIES)
    depth = draw(st.integers(0, 255))
    instants = draw(st.tuples(INSTANTS, INSTANTS))
    return encode_request(draw(IDS), draw(TYPES), len(body), *instants, depth) + body


@st.composite
def reply_frames(draw: st.DrawFn) -> bytes:
    """Draw a whole reply frame."""
    phases = draw(st.tuples(MICROSECONDS, MICROSECONDS, MICROSECONDS, MICROSECONDS))
    status = draw(st.integers(0, 2**16 - 1))
    return encode_reply(status, draw(TYPES), draw(BODIES), phases, failed=draw(st.booleans()))


@settings(deadline=None, database=None)
@given(mutated(request_frames()) | st.binary())
def test_request_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    """A length is announced for a header alone, and only exactly that many bytes are a frame."""
    with suppress(FrameError):
        length = request_length(data)
        assert (length == 0) == (len(data) < REQUEST_HEADER_BYTES)
        assert length == 0 or length >= REQUEST_HEADER_BYTES
    with suppress(FrameError):
        frame = decode_request(data)
        assert request_length(data) == len(data)
        again = encode_request(
            frame.request_id.encode(), frame.content_type.encode("latin-1"), len(frame.body),
            frame.deadline_ns, frame.sent_ns, frame.depth,
        )  # fmt: skip
        assert frame == decode_request(again + bytes(frame.body))


@settings(deadline=None, database=None)
@given(request_frames(), st.data())
def test_beginning_of_a_request_is_no_frame(frame: bytes, data: st.DataObject) -> None:
    """A frame that was cut anywhere wants more, and is never executed."""
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert request_length(frame[:cut]) in {0, len(frame)}
    with pytest.raises(FrameError):
        decode_request(frame[:cut])


@settings(deadline=None, database=None)
@given(mutated(reply_frames()) | st.binary())
def test_reply_bytes_are_a_header_or_a_frame_error(data: bytes) -> None:
    """Any bytes are a reply's header, not one, or too few to tell."""
    with suppress(FrameError):
        header = decode_reply_header(data)
        assert (header is None) == (len(data) < REPLY_HEADER_BYTES)
        assert header is None or header.body_at >= REPLY_HEADER_BYTES


@st.composite
def chunk_streams(draw: st.DrawFn) -> bytes:
    """Draw the chunks of a whole stream."""
    contents = draw(st.lists(st.binary(max_size=20), max_size=5))
    status = draw(st.integers(1, 2**16 - 1))
    return b"".join(map(encode_chunk, contents)) + encode_chunk(draw(BODIES), status)


def read_chunks(data: bytes, cuts: list[int]) -> tuple[bytes, int]:
    """Return contents and status of what was received in such pieces; -1 when it is refused."""
    reader, contents = ChunkReader(), b""
    try:
        for start, end in pairwise([0, *sorted(cuts), len(data)]):
            contents += reader.read(data[start:end])
    except FrameError:
        return b"", -1
    return contents + reader.error, reader.status


@settings(deadline=None, database=None)
@given(mutated(chunk_streams()) | st.binary(), st.data())
def test_bytes_of_a_stream_mean_the_same_in_any_pieces(data: bytes, draw: st.DataObject) -> None:
    """Contents that are no longer than what came, an end or none, or a frame error."""
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    whole = read_chunks(data, [])
    assert whole == read_chunks(data, cuts)
    assert len(whole[0]) <= len(data)
