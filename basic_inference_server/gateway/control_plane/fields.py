"""Reads the fields of an administration request: JSON, form or query string."""

from __future__ import annotations

from typing import Any

from flask import request

from basic_inference_server.core.errors import BadInput, UnsupportedMediaType
from basic_inference_server.core.topology import is_signature
from basic_inference_server.gateway.form_fields import read_fields
from basic_inference_server.gateway.json_charset import require_utf8
from basic_inference_server.wire.json_codec import decode_object


def request_fields() -> dict[str, Any]:
    """Return the fields of the current request.

    Raises:
        BadJson: the body is not a JSON object.
        BadRequest: query or form cannot be decoded.
        UnsupportedMediaType: the content type is none of JSON and form, or not in UTF-8.
    """
    body = request.get_data()
    if request.method in {"GET", "HEAD"} or not body:
        return read_fields(request.query_string)
    media_type = request.mimetype
    if media_type in {"", "application/json"} or media_type.endswith("+json"):
        require_utf8(request.headers.get("Content-Type", "").encode("latin-1", "replace"))
        return decode_object(body)
    if body[:1] == b"{":
        return decode_object(body)
    if media_type == "application/x-www-form-urlencoded":
        return read_fields(body)
    if media_type == "multipart/form-data":
        fields = request.form.lists()
        return {name: values[0] if len(values) == 1 else values for name, values in fields}
    raise UnsupportedMediaType(f"Content-Type {media_type!r} is not read here; send JSON.")


def signature_field(fields: dict[str, Any], *, wildcard: bool = False) -> str:
    """Return the checked `SIGNATURE`, or that of the port that the request came in on.

    Raises:
        BadInput: it is missing or cannot be a signature.
    """
    bound = request.environ.get("bis.bound_signature")
    signature = fields.get("SIGNATURE", bound)
    if bound is not None and signature != bound:
        raise BadInput(f"This port is {bound}'s own; leave SIGNATURE out.")
    if wildcard and signature == "*":
        return "*"
    if not isinstance(signature, str) or not is_signature(signature):
        raise BadInput('SIGNATURE must name an endpoint, such as {"SIGNATURE": "get_sim"}.')
    return signature
