"""Frames between gateway and worker: one connection carries one request and one reply.

A request is a fixed header, the request id, the content type and the body, untouched. A reply is
a fixed header, the content type and the body. Integers are little-endian. Times are monotonic
nanoseconds, which mean the same in every process of one machine. An incomplete frame is never
executed.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

REQUEST_MAGIC: Final = b"BISq"
REPLY_MAGIC: Final = b"BISr"
VERSION: Final = 1
JSON_TYPE: Final = "application/json"

# magic, version, depth, id length, content-type length, padding, body length, deadline, sent
_REQUEST: Final = struct.Struct("<4sBBHHHQqq")
# magic, version, failed, status, content-type length, padding, queue/pre/predict/post us, length
_REPLY: Final = struct.Struct("<4sBBHHHIIIIQ")
REQUEST_HEADER_BYTES: Final = _REQUEST.size
REPLY_HEADER_BYTES: Final = _REPLY.size
MAX_MICROSECONDS: Final = 2**32 - 1

pack_request_header = _REQUEST.pack
unpack_request_header = _REQUEST.unpack_from
pack_reply_header = _REPLY.pack
unpack_reply_header = _REPLY.unpack_from


class FrameError(Exception):
    """The bytes are not a frame of this version."""


class RequestFrame(NamedTuple):
    """A request as the worker sees it."""

    request_id: str
    content_type: str
    body: memoryview
    deadline_ns: int
    sent_ns: int
    depth: int


def encode_request(
    request_id: bytes, content_type: bytes, body_length: int, deadline_ns: int, sent_ns: int,
    depth: int = 0,
) -> bytes:  # fmt: skip
    """Return everything of a request frame that precedes the body."""
    header = pack_request_header(
        REQUEST_MAGIC, VERSION, depth, len(request_id), len(content_type), 0,
        body_length, deadline_ns, sent_ns,
    )  # fmt: skip
    return header + request_id + content_type


def request_length(data: bytes | bytearray) -> int:
    """Return the length of the request frame that starts with `data`; 0 when more is needed.

    Raises:
        FrameError: `data` does not start a request frame.
    """
    if len(data) < REQUEST_HEADER_BYTES:
        return 0
    magic, version, _, id_length, type_length, _, body_length, _, _ = unpack_request_header(data)
    if magic != REQUEST_MAGIC or version != VERSION:
        raise FrameError("not a request frame of this version")
    return int(REQUEST_HEADER_BYTES + id_length + type_length + body_length)


def decode_request(data: bytes | bytearray) -> RequestFrame:
    """Return the complete request frame in `data`.

    Raises:
        FrameError: `data` is not exactly one request frame.
    """
    if request_length(data) != len(data) or not data:
        raise FrameError("not one complete request frame")
    _, _, depth, id_length, type_length, _, _, deadline_ns, sent_ns = unpack_request_header(data)
    type_at = REQUEST_HEADER_BYTES + id_length
    body_at = type_at + type_length
    try:
        request_id = data[REQUEST_HEADER_BYTES:type_at].decode("ascii")
    except UnicodeDecodeError as error:
        raise FrameError("the request id is not ASCII") from error
    return RequestFrame(
        request_id=request_id,
        content_type=data[type_at:body_at].decode("latin-1"),
        body=memoryview(data)[body_at:],
        deadline_ns=deadline_ns,
        sent_ns=sent_ns,
        depth=depth,
    )


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

    @property
    def body_at(self) -> int:
        """Where in the frame the body starts."""
        return REPLY_HEADER_BYTES + self.content_type_length


def encode_reply(
    status: int, content_type: bytes, body: bytes, phases_us: tuple[int, int, int, int],
    *, failed: bool = False,
) -> bytes:  # fmt: skip
    """Return a whole reply frame; `phases_us` is queue, pre, predict, post."""
    queue, pre, predict, post = phases_us
    header = pack_reply_header(
        REPLY_MAGIC, VERSION, failed, status, len(content_type), 0,
        queue, pre, predict, post, len(body),
    )  # fmt: skip
    return b"".join((header, content_type, body))


def decode_reply_header(data: bytes | bytearray) -> ReplyHeader | None:
    """Return the head of the reply that starts with `data`; `None` when more is needed.

    Raises:
        FrameError: `data` does not start a reply frame.
    """
    if len(data) < REPLY_HEADER_BYTES:
        return None
    (magic, version, failed, status, type_length, _, queue, pre, predict, post, length) = (
        unpack_reply_header(data)
    )
    if magic != REPLY_MAGIC or version != VERSION:
        raise FrameError("not a reply frame of this version")
    return ReplyHeader(status, type_length, queue, pre, predict, post, length, bool(failed))
