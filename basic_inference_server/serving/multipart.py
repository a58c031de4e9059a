"""Reads `multipart/form-data` bodies (RFC 7578): text fields and files."""

from __future__ import annotations

from typing import Any, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from basic_inference_server.core.errors import BadInput
from basic_inference_server.worker.binary import OCTETS, Binary

MAX_PARTS: Final = 1000
STEP_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 2 * STEP_BYTES  # of a part; the time to read one grows with its square


def read_multipart(content_type: str, body: memoryview) -> dict[str, Any]:
    """Return the parts by their names: texts, and a `Binary` for each file.

    Several parts of one name are a list.

    Raises:
        BadInput: the body is not what its content type says.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary.isascii() or not 0 < len(boundary) <= 70:
        raise BadInput("A multipart request needs a boundary of 1 to 70 characters (RFC 2046).")
    decoder = MultipartDecoder(boundary.encode("ascii"), max_parts=MAX_PARTS)
    parts: dict[str, Any] = {}
    try:
        for event, content in _parts(decoder, body):
            if event.name is None:
                raise BadInput("A part of the multipart request has no name.")
            known = parts.get(event.name)
            value = _value(event, content)
            if isinstance(known, list):
                known.append(value)
            else:
                parts[event.name] = value if known is None else [known, value]
    except RequestEntityTooLarge as error:
        raise BadInput(f"A multipart request has at most {MAX_PARTS} parts.") from error
    except (ValueError, AttributeError) as error:  # the latter: a part that breaks off
        raise BadInput(f"The multipart request cannot be read: {error}.") from error
    return parts


def _parts(decoder: MultipartDecoder, body: memoryview) -> Any:
    """Yield each part with its content."""
    position = 0
    part: Field | File | None = None
    content = bytearray()
    without_event = 0
    while True:
        event = decoder.next_event()
        if not isinstance(event, NeedData):
            without_event = 0
        if isinstance(event, NeedData):
            step = body[position : position + STEP_BYTES]
            position += len(step)
            without_event += len(step)
            if without_event > MAX_HEAD_BYTES:
                raise BadInput(
                    f"A part of the multipart request has a head above {MAX_HEAD_BYTES} bytes."
                )
            decoder.receive_data(step if len(step) else None)  # type: ignore[arg-type]
        elif isinstance(event, (Field, File)):
            part, content = event, bytearray()
        elif isinstance(event, Data):
            content += event.data
            if not event.more_data and part is not None:
                yield part, content
        elif isinstance(event, Epilogue):
            return


def _value(part: Field | File, content: bytearray) -> Any:
    if isinstance(part, Field):
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"The field {part.name!r} is not UTF-8: {error}.") from error
    file_name = part.filename.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    content_type = part.headers.get("content-type") or OCTETS
    return Binary(memoryview(content), content_type, file_name or None)
