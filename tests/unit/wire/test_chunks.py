"""Unit tests of the chunks of a streamed reply: however they are cut, the contents are the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.wire.frames import (
    CHUNK_HEADER_BYTES,
    ChunkReader,
    FrameError,
    decode_reply_header,
    encode_chunk,
    encode_reply_head,
)

CONTENTS = st.lists(st.binary(max_size=40), max_size=6)
STATUSES = st.integers(1, 2**16 - 1)


def stream_of(contents: list[bytes], last: bytes = b"", status: int = 200) -> bytes:
    return b"".join([*map(encode_chunk, contents), encode_chunk(last, status)])


def read_in_pieces(data: bytes, cuts: list[int]) -> tuple[bytes, int]:
    reader, found = ChunkReader(), b""
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        found += reader.read(data[start:end])
    return found + reader.error, reader.status


@settings(deadline=None, max_examples=100, database=None)
@given(CONTENTS, st.binary(max_size=40), STATUSES, st.data())
def test_contents_are_the_same_in_any_pieces(
    contents: list[bytes], last: bytes, status: int, data: st.DataObject
) -> None:
    """The kernel cuts a stream where it likes."""
    stream = stream_of(contents, last, status)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    assert (b"".join([*contents, last]), status) == read_in_pieces(stream, cuts)


def test_contents_are_the_same_when_cut_at_any_byte_or_at_all() -> None:
    """Within a header, within a content, between them."""
    contents = [b"one", b"", b"three" * 3]
    stream = stream_of(contents, b"end", 500)
    expected = (b"".join(contents) + b"end", 500)
    for cut in range(len(stream) + 1):
        assert expected == read_in_pieces(stream, [cut]), cut
    assert expected == read_in_pieces(stream, list(range(len(stream))))


def test_status_is_there_only_with_the_whole_last_chunk() -> None:
    """A stream that breaks off in its last chunk has not ended."""
    stream = stream_of([b"one"], b"end")
    for cut in range(len(stream)):
        reader = ChunkReader()
        reader.read(stream[:cut])
        assert 0 == reader.status, cut


@pytest.mark.parametrize(("status", "expected"), [(200, b""), (422, b"end"), (500, b"end")])
def test_error_is_kept_apart_from_the_contents(status: int, expected: bytes) -> None:
    """How much of it a caller is told is for the gateway to say."""
    reader = ChunkReader()
    contents = reader.read(stream_of([b"one"], b"end", status))
    assert (b"oneend", expected) == (contents + expected, reader.error)


def test_part_of_a_content_is_handed_on_before_the_rest_is_there() -> None:
    """Nothing is kept back but a header that is not complete."""
    reader = ChunkReader()
    chunk = encode_chunk(b"abcdef")
    assert b"ab" == reader.read(chunk[: CHUNK_HEADER_BYTES + 2])
    assert b"cd" == reader.read(chunk[CHUNK_HEADER_BYTES + 2 : CHUNK_HEADER_BYTES + 4])
    assert b"ef" == reader.read(chunk[CHUNK_HEADER_BYTES + 4 :] + b"\0")
    assert b"" == reader.read(b"\0\0\0\0")
    assert b"" == reader.read(b"\1")  # an empty chunk that ends with status 256
    assert 256 == reader.status


@pytest.mark.parametrize("extra", [b"x", b"\0" * CHUNK_HEADER_BYTES, encode_chunk(b"more", 200)])
@pytest.mark.parametrize("is_together", [True, False], ids=["together", "later"])
def test_bytes_after_the_last_chunk_are_refused(extra: bytes, *, is_together: bool) -> None:
    """Whatever they are: they can belong to nothing."""
    reader, stream = ChunkReader(), stream_of([b"one"])
    if is_together:
        stream += extra
    else:
        reader.read(stream)
        stream = extra
    with pytest.raises(FrameError, match="follows the last chunk"):
        reader.read(stream)


def test_large_chunk_is_one_content() -> None:
    """A chunk is as long as its item."""
    content = bytes(range(256)) * 4096
    found, status = read_in_pieces(stream_of([content]), list(range(0, len(content), 65536)))
    assert (content, 200) == (found, status)


@pytest.mark.parametrize("failed", [True, False])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("name", [b"", "naïve name.png".encode()])
def test_head_says_what_follows(name: bytes, *, failed: bool, is_stream: bool) -> None:
    """Whether chunks or a body, whether it failed, and under which name it shall be saved."""
    head = encode_reply_head(
        200, b"image/png", 7, (1, 2, 3, 4), failed=failed, is_stream=is_stream, file_name=name
    )
    header = decode_reply_header(head)
    assert header is not None
    assert (failed, is_stream) == (header.failed, header.is_stream)
    assert name == head[header.file_name_at : header.body_at]
    assert len(head) == header.body_at
