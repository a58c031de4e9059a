"""Makes a request frame's body the endpoint's inputs, and the other way round."""

from __future__ import annotations

from typing import Any

from basic_inference_server.wire.frames import JSON_TYPE, MAX_FIELDS_BYTES, RequestFrame
from basic_inference_server.wire.json_codec import decode_object, encode
from basic_inference_server.worker.binary import OCTETS, Binary, wire_parts

BODY = "BODY"
MULTIPART = "multipart/form-data"


def read_inputs(frame: RequestFrame, signature: str) -> dict[str, Any]:
    """Return the inputs; `SIGNATURE` in them is the endpoint's, whatever the request has there.

    Those of a raw body are the fields of the query and `BODY`, a `Binary`. JSON with fields beside
    it is raw, too: another endpoint has sent it as one.

    Raises:
        BadJson: the body should be JSON, and is not.
        BadInput: the body should be multipart, and is not.
    """
    content_type = frame.content_type
    if content_type == JSON_TYPE and not frame.fields:
        inputs = decode_object(frame.body)
        inputs["SIGNATURE"] = signature
        return inputs
    inputs = {"SIGNATURE": signature}
    if frame.fields:
        inputs.update(decode_object(frame.fields))
    if content_type.lower().startswith(MULTIPART):
        from basic_inference_server.serving.multipart import (  # noqa: PLC0415 - few need it
            read_multipart,
        )

        inputs.update(read_multipart(content_type, frame.body))
    else:
        inputs[BODY] = Binary(frame.body, content_type or OCTETS)
    inputs["SIGNATURE"] = signature
    return inputs


def written_inputs(inputs: dict[str, Any], signature: str) -> tuple[str, bytes | memoryview, bytes]:
    """Return content type, body and fields of a request with such inputs: JSON, or a raw body.

    Raises:
        TypeError: something in them cannot be sent.
    """
    inputs = {"SIGNATURE": signature, **inputs}
    raw = inputs.get(BODY)
    if not isinstance(raw, Binary):
        return JSON_TYPE, encode(inputs), b""
    del inputs[BODY]
    fields = encode(inputs)
    if len(fields) > MAX_FIELDS_BYTES:
        raise TypeError(f"what is sent beside {BODY} is longer than {MAX_FIELDS_BYTES} bytes")
    content, content_type, _ = wire_parts(raw)
    return content_type.decode("ascii"), content, fields
