"""Reads the fields of a query or a form, strictly, for endpoints and administration alike."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from basic_inference_server.core.errors import BadRequest

MAX_FIELDS = 1000


def read_fields(encoded: bytes) -> dict[str, Any]:
    """Return the fields as texts; several of one name are a list, in their order.

    Raises:
        BadRequest: they cannot be decoded, or there are too many.
    """
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest(
            f"The fields cannot be decoded as UTF-8 form data: {error}. Raw bytes need a "
            "Content-Type of their own, such as application/octet-stream."
        ) from error
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields
