"""Strict JSON, read and written alike by gateway and workers.

`NaN`, infinities, invalid UTF-8, a byte order mark, trailing text and deep nesting are refused
when read; NaN and infinities are written as `null`. orjson does the work (RFC 8259).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import orjson

from basic_inference_server.core.errors import BadJson

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY
_LENIENT_OPTIONS: Final = _OPTIONS | orjson.OPT_NON_STR_KEYS
MAX_DEPTH: Final = 200
ORJSON_WRITES: Final = 254  # levels; it reads 1,024
REPLACEMENT: Final = "\ufffd"  # what Unicode has for what is no character
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")


def _default(value: Any) -> Any:
    """Encode what orjson does not know; a `TypeError` here names the type for the author."""
    if isinstance(value, (set, frozenset, tuple)):  # tuple: a named one
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode("ascii")
    if hasattr(value, "model_dump") and not isinstance(
        value, type
    ):  # pydantic models, without importing pydantic
        return value.model_dump()
    if hasattr(value, "tolist"):  # arrays that orjson cannot read in place, and numpy scalars
        return value.tolist()
    if isinstance(value, (Decimal, PurePath)):
        return str(value)
    if hasattr(value, "__bytes__") and not isinstance(value, type):  # a `Binary`
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def encode(value: Any, default: Callable[[Any], Any] = _default) -> bytes:
    """Return `value` as JSON bytes.

    Raises:
        TypeError: something in it cannot be written as JSON.
    """
    try:
        return orjson.dumps(value, default, _OPTIONS)
    except TypeError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
    try:
        return orjson.dumps(value, default, _LENIENT_OPTIONS)
    except TypeError:
        pass
    # Numbers above 64 bits, half characters, named tuples, numpy keys: rare, and worth a slower
    # way. It raises for what really cannot be written.
    plain = _as_plain(value, default, MAX_DEPTH)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def _as_plain(value: Any, default: Callable[[Any], Any], depth: int) -> Any:
    """Return `value` made of dicts with string keys, lists, strings, numbers and null only."""
    if depth == 0:
        raise TypeError(f"nested deeper than {MAX_DEPTH} levels, which cannot be written as JSON")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _HALF_CHARACTERS.sub(REPLACEMENT, value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_key_text(key): _as_plain(item, default, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_plain(item, default, depth - 1) for item in value]
    try:
        return orjson.loads(orjson.dumps(value, default, _LENIENT_OPTIONS))
    except TypeError:
        return _as_plain(default(value), default, depth - 1)


def _key_text(key: Any) -> str:
    """Return a dict's key as text.

    Raises:
        TypeError: it is nothing that a key can be made of.
    """
    if hasattr(key, "item") and hasattr(key, "dtype"):  # a numpy scalar
        key = key.item()
    if isinstance(key, str):
        return _HALF_CHARACTERS.sub(REPLACEMENT, key)
    if isinstance(key, (tuple, list, set, frozenset, bytes)):
        raise TypeError(f"a key of type {type(key).__name__} cannot be written as JSON")
    text: str = orjson.dumps({key: None}, option=orjson.OPT_NON_STR_KEYS).decode()
    return text[text.index('"') + 1 : text.rindex('":')]


def encode_anything(value: Any) -> bytes:
    """Return `value` as JSON bytes, with the text of whatever cannot be written as JSON."""

    try:
        return encode(value)
    except (TypeError, ValueError, RecursionError):
        return encode(_as_text(value, MAX_DEPTH))


def _as_text(value: Any, depth: int) -> Any:
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return {str(key): _as_text(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_text(item, depth - 1) for item in value]
    try:
        encode(value)
    except (TypeError, ValueError):
        return str(value)
    return value


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
    if len(body) > 2 * MAX_DEPTH and _is_too_deep(body, value):
        raise BadJson(f"The body is not valid JSON here: nested deeper than {MAX_DEPTH} levels.")
    return value


def _is_too_deep(body: bytes | bytearray | memoryview, value: Any) -> bool:
    """Say whether a value is nested deeper than `MAX_DEPTH`: what is read can be written again.

    Only bodies with that many brackets can be, and of those the C code of the writer, which has a
    limit of its own, is asked.
    """
    text = body if isinstance(body, bytes) else bytes(body)
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    for _ in range(ORJSON_WRITES - MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def _json_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
