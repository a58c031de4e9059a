"""Frames between gateway and worker: one connection carries one request and one reply.

A request is a fixed header, the request id, the content type, the fields that came beside the body
(a JSON object, or nothing) and the body, untouched. A reply is a fixed header, the content type,
the name of a file (or nothing) and the body; or, of an endpoint that streams, chunks instead of the
body. Integers are little-endian. Times are monotonic nanoseconds, which mean the same in every
process of one machine. An incomplete frame is never executed.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

REQUEST_MAGIC: Final = b"BISq"
REPLY_MAGIC: Final = b"BISr"
VERSION: Final = 2
JSON_TYPE: Final = "application/json"

# magic, version, depth, accepts, id / content-type / fields / body length, deadline, sent
_REQUEST: Final = struct.Struct("<4sBBBHHHQqq")
# magic, version, flags, status, content-type / file-name length, queue/pre/predict/post us, length
_REPLY: Final = struct.Struct("<4sBBHHHIIIIQ")
# length, status: 0 while more is to come
_CHUNK: Final = struct.Struct("<IH")
REQUEST_HEADER_BYTES: Final = _REQUEST.size
REPLY_HEADER_BYTES: Final = _REPLY.size
CHUNK_HEADER_BYTES: Final = _CHUNK.size
MAX_MICROSECONDS: Final = 2**32 - 1
MAX_FIELDS_BYTES: Final = 2**16 - 1
NOT_A_REQUEST: Final = "not a request frame of this version"
FIRST_ERROR: Final = 400
_FAILED: Final = 1
_STREAM: Final = 2

pack_request_header = _REQUEST.pack
unpack_request_header = _REQUEST.unpack_from
pack_reply_header = _REPLY.pack
unpack_reply_header = _REPLY.unpack_from
pack_chunk_header = _CHUNK.pack
unpack_chunk_header = _CHUNK.unpack_from


class FrameError(Exception):
    """The bytes are not a frame of this version."""


class Accepts(IntEnum):
    """What the caller takes of an endpoint that streams."""

    WHOLE = 0  # all items in one answer
    NDJSON = 1
    EVENTS = 2


class RequestFrame(NamedTuple):
    """A request as the worker sees it."""

    request_id: str
    content_type: str
    body: memoryview
    deadline_ns: int
    sent_ns: int
    depth: int
    accepts: int
    fields: bytes


def encode_request(
    request_id: bytes, content_type: bytes, body_length: int, deadline_ns: int, sent_ns: int,
    depth: int = 0, accepts: int = Accepts.WHOLE, fields: bytes = b"",
) -> bytes:  # fmt: skip
    """Return everything of a request frame that precedes the body."""
    header = pack_request_header(
        REQUEST_MAGIC, VERSION, depth, accepts, len(request_id), len(content_type), len(fields),
        body_length, deadline_ns, sent_ns,
    )  # fmt: skip
    return header + request_id + content_type + fields


def request_length(data: bytes | bytearray) -> int:
    """Return the length of the request frame that starts with `data`; 0 when more is needed.

    Raises:
        FrameError: `data` does not start a request frame.
    """
    if len(data) < REQUEST_HEADER_BYTES:
        return 0
    (magic, version, _, _, id_length, type_length, fields_length, body_length, _, _) = (
        unpack_request_header(data)
    )
    if magic != REQUEST_MAGIC or version != VERSION:
        raise FrameError(NOT_A_REQUEST)
    return int(REQUEST_HEADER_BYTES + id_length + type_length + fields_length + body_length)


def decode_request(data: bytes | bytearray) -> RequestFrame:
    """Return the complete request frame in `data`.

    Raises:
        FrameError: `data` is not exactly one request frame.
    """
    if len(data) < REQUEST_HEADER_BYTES:
        raise FrameError("not one complete request frame")
    (magic, version, depth, accepts, id_length, type_length, fields_length, body_length,
     deadline_ns, sent_ns) = unpack_request_header(data)  # fmt: skip
    if magic != REQUEST_MAGIC or version != VERSION:
        raise FrameError(NOT_A_REQUEST)
    type_at = REQUEST_HEADER_BYTES + id_length
    fields_at = type_at + type_length
    body_at = fields_at + fields_length
    if body_at + body_length != len(data):
        raise FrameError("not one complete request frame")
    try:
        request_id = data[REQUEST_HEADER_BYTES:type_at].decode("ascii")
    except UnicodeDecodeError as error:
        raise FrameError("the request id is not ASCII") from error
    return RequestFrame(
        request_id, data[type_at:fields_at].decode("latin-1"), memoryview(data)[body_at:],
        deadline_ns, sent_ns, depth, accepts,
        bytes(data[fields_at:body_at]) if fields_length else b"",
    )  # fmt: skip


class ReplyHeader(NamedTuple):
    """The head of a reply; phase times are microseconds."""

    status: int
    content_type_length: int
    queue_us: int
    pre_us: int
    predict_us: int
    post_us: int
    body_length: int
    failed: bool
    is_stream: bool = False
    file_name_length: int = 0

    @property
    def file_name_at(self) -> int:
        """Where in the frame the file name starts."""
        return REPLY_HEADER_BYTES + self.content_type_length

    @property
    def body_at(self) -> int:
        """Where in the frame the body starts."""
        return REPLY_HEADER_BYTES + self.content_type_length + self.file_name_length


def encode_reply_head(
    status: int, content_type: bytes, body_length: int, phases_us: tuple[int, int, int, int],
    *, failed: bool = False, is_stream: bool = False, file_name: bytes = b"",
) -> bytes:  # fmt: skip
    """Return everything of a reply that precedes the body; `phases_us` is queue, pre, …, post."""
    queue, pre, predict, post = phases_us
    flags = _FAILED * failed | _STREAM * is_stream
    header = pack_reply_header(
        REPLY_MAGIC, VERSION, flags, status, len(content_type), len(file_name),
        queue, pre, predict, post, body_length,
    )  # fmt: skip
    return header + content_type + file_name


def encode_reply(
    status: int, content_type: bytes, body: bytes, phases_us: tuple[int, int, int, int],
    *, failed: bool = False,
) -> bytes:  # fmt: skip
    """Return a whole reply frame."""
    return encode_reply_head(status, content_type, len(body), phases_us, failed=failed) + body


def decode_reply_header(data: bytes | bytearray) -> ReplyHeader | None:
    """Return the head of the reply that starts with `data`; `None` when more is needed.

    Raises:
        FrameError: `data` does not start a reply frame.
    """
    if len(data) < REPLY_HEADER_BYTES:
        return None
    (magic, version, flags, status, type_length, name_length, queue, pre, predict, post, length) = (
        unpack_reply_header(data)
    )
    if magic != REPLY_MAGIC or version != VERSION:
        raise FrameError("not a reply frame of this version")
    return ReplyHeader(
        status, type_length, queue, pre, predict, post, length,
        bool(flags & _FAILED), bool(flags & _STREAM), name_length,
    )  # fmt: skip


def encode_chunk(data: bytes, status: int = 0) -> bytes:
    """Return a chunk of a stream; the last one has the status that it has ended with.

    From 400 on it holds the body of an error, which the reader puts into the stream's layout.
    """
    return pack_chunk_header(len(data), status) + data


class ChunkReader:
    """Takes the contents of a stream's chunks out of what is received, as far as it has come.

    Attributes:
        status: what the stream has ended with; 0 while more is to come.
        error: the body of the error that it has ended with, if it has.
    """

    def __init__(self) -> None:
        self.status = 0
        self.error = b""
        self._head: bytes = b""  # of a chunk whose header is not complete
        self._left = 0
        self._last_status = 0

    def read(self, received: bytes) -> bytes:
        """Return the contents that have come.

        Raises:
            FrameError: something follows the last chunk.
        """
        data = self._head + received if self._head else received
        contents, position, length = [], 0, len(data)
        while True:
            if self._left:
                part = data[position : position + self._left]
                if self._last_status >= FIRST_ERROR:
                    self.error += part
                else:
                    contents.append(part)
                position += len(part)
                self._left -= len(part)
                if self._left:
                    break
            self.status = self._last_status
            if self.status or position + CHUNK_HEADER_BYTES > length:
                break
            self._left, self._last_status = unpack_chunk_header(data, position)
            position += CHUNK_HEADER_BYTES
        self._head = data[position:]
        if self.status and self._head:
            raise FrameError("something follows the last chunk")
        return b"".join(contents)
