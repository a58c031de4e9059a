"""Strict JSON, read and written alike by gateway and workers.

`NaN`, infinities, invalid UTF-8, a byte order mark, trailing text and deep nesting are refused
when read; NaN and infinities are written as `null`. orjson does the work (RFC 8259).
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import orjson

from basic_inference_server.core.errors import BadJson

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY
_LENIENT_OPTIONS: Final = _OPTIONS | orjson.OPT_NON_STR_KEYS


def _default(value: Any) -> Any:
    """Encode what orjson does not know; a `TypeError` here names the type for the author."""
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if hasattr(value, "model_dump"):  # pydantic models, without importing pydantic
        return value.model_dump()
    if hasattr(value, "tolist"):  # arrays that orjson cannot read in place, and numpy scalars
        return value.tolist()
    if isinstance(value, (Decimal, PurePath)):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def encode(value: Any) -> bytes:
    """Return `value` as JSON bytes.

    Raises:
        TypeError: something in it cannot be written as JSON.
    """
    try:
        return orjson.dumps(value, _default, _OPTIONS)
    except TypeError as error:
        if "key" not in str(error):
            raise
    return orjson.dumps(value, _default, _LENIENT_OPTIONS)


def decode_object(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises:
        BadJson: it is not JSON, not UTF-8 or not an object; the message says where.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadJson(f"The body is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadJson(f"The body must be a JSON object, not {_json_name(value)}.")
    return value


def _json_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
