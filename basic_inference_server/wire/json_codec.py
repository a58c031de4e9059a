"""Strict JSON, read and written alike by gateway and workers.

`NaN`, infinities, invalid UTF-8, a byte order mark, trailing text and deep nesting are refused
when read; NaN and infinities are written as `null`. Integers are exact, however long. msgspec
reads and orjson writes (RFC 8259).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from datetime import date
from types import NoneType
from typing import Any, Final

import msgspec
import orjson

from basic_inference_server.core.errors import BadJson
from basic_inference_server.core.json_arrays import NUMBERS
from basic_inference_server.core.json_numbers import FewNumbers, NumbersMet, holds_only_numbers
from basic_inference_server.core.json_refusals import OneShot
from basic_inference_server.core.json_values import json_value
from basic_inference_server.core.showing import text_of, whole_characters

_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS
_LENIENT_OPTIONS: Final = _OPTIONS | orjson.OPT_NON_STR_KEYS
MAX_DEPTH: Final = 200
ORJSON_WRITES: Final = 254  # levels; it reads 1,024
_few_numbers: Final = FewNumbers()
_decode: Final = msgspec.json.Decoder().decode


def encode(value: Any) -> bytes:
    """Return `value` as JSON bytes.

    Raises:
        TypeError: something in it cannot be written as JSON.
        BaseException: what code of the endpoint's raises that is asked for a value.
    """
    _few_numbers.met = 0
    try:
        return orjson.dumps(value, _few_numbers, _OPTIONS)
    except TypeError as error:
        cause = error.__cause__
    if isinstance(cause, NumbersMet):
        if holds_only_numbers(value):
            with contextlib.suppress(TypeError):
                return orjson.dumps(value, json_value, _OPTIONS | orjson.OPT_SERIALIZE_NUMPY)
    elif cause is not None and not isinstance(cause, OneShot):
        raise cause
    return _encode_slowly(value, _Listed())


def _encode_slowly(value: Any, default: Callable[[Any], Any]) -> bytes:
    try:
        return orjson.dumps(value, default, _LENIENT_OPTIONS)
    except TypeError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
    # Numbers above 64 bits, half characters, named tuples, numpy keys: rare, and worth a slower
    # way. It raises for what really cannot be written.
    plain = _as_plain(value, default, ORJSON_WRITES)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


class _Listed:
    """Writes iterators as lists; each is read once, however often the writer asks for it."""

    def __init__(self) -> None:
        self._lists: dict[int, tuple[Iterator[Any], list[Any]]] = {}

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, Iterator):
            return json_value(value)
        kept = self._lists.get(id(value))
        if kept is None:
            kept = self._lists[id(value)] = value, list(value)
        return kept[1]


def _as_plain(value: Any, default: Callable[[Any], Any], depth: int) -> Any:
    """Return `value` made of dicts with string keys, lists, strings, numbers and null only."""
    if depth == 0:
        raise TypeError(
            f"nested deeper than {ORJSON_WRITES} levels, which cannot be written as JSON"
        )
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {
            _key_text(key, default): _as_plain(item, default, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_as_plain(item, default, depth - 1) for item in value]
    try:
        return orjson.loads(orjson.dumps(value, default, _LENIENT_OPTIONS))
    except TypeError:
        return _as_plain(default(value), default, depth - 1)


def _key_text(key: Any, default: Callable[[Any], Any]) -> str:
    """Return a dict's key as text.

    Raises:
        TypeError: it is nothing that a key can be made of.
    """
    if hasattr(key, "item") and hasattr(key, "dtype") and key.dtype.kind in NUMBERS:
        key = key.item()
    if isinstance(key, str):
        return whole_characters(key)
    if isinstance(key, (tuple, list, set, frozenset, bytes)):
        raise _key_refusal(key)
    try:
        text: str = orjson.dumps({key: None}, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return _simpler_key_text(key, default)
    return text[text.index('"') + 1 : text.rindex('":')]


def _simpler_key_text(key: Any, default: Callable[[Any], Any]) -> str:
    if isinstance(key, int):  # above 64 bits
        return int.__repr__(key)
    simpler = default(key)
    if not isinstance(simpler, (str, float, date, NoneType)):
        raise _key_refusal(key)
    return _key_text(simpler, default)


def _key_refusal(key: Any) -> TypeError:
    return TypeError(
        f"a key of type {type(key).__name__} cannot be written as JSON; write it as text"
    )


def encode_anything(value: Any) -> bytes:
    """Return `value` as JSON bytes, with the text of whatever cannot be written as JSON."""

    try:
        return encode(value)
    except BaseException:  # noqa: BLE001 - the objects of an endpoint may raise anything
        return encode(_as_text(value, MAX_DEPTH))


def _as_text(value: Any, depth: int) -> Any:
    if depth == 0:
        return "..."
    try:
        if isinstance(value, dict):
            return {text_of(key): _as_text(item, depth - 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_as_text(item, depth - 1) for item in value]
        if isinstance(value, Iterator):  # reading it would take its items from its owner
            return text_of(value)
        encode(value)
    except BaseException:  # noqa: BLE001 - the same
        return text_of(value)
    return value


def decode(body: bytes | bytearray | memoryview) -> Any:
    """Return the JSON value in `body`; integers are exact, however long.

    Raises:
        ValueError: it is not JSON or not UTF-8; the message says where.
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # orjson, which would make floats of integers beyond 64 bits, says line and column.
        return orjson.loads(body)


def decode_object(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises:
        BadJson: it is not JSON, not UTF-8 or not an object; the message says where.
    """
    try:
        value = decode(body)
    except ValueError as error:
        raise BadJson(f"The body is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadJson(f"The body must be a JSON object, not {_json_name(value)}.")
    if len(body) > 2 * MAX_DEPTH and _is_too_deep(body, value):
        raise BadJson(f"The body is not valid JSON here: nested deeper than {MAX_DEPTH} levels.")
    return value


def _is_too_deep(body: bytes | bytearray | memoryview, value: Any) -> bool:
    """Say whether a value is nested deeper than `MAX_DEPTH`: what is read can be written again.

    Only bodies with that many brackets can be, and of those the C code of the writer, which has a
    limit of its own, is asked first.
    """
    text = body if isinstance(body, bytes) else bytes(body)
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    wrapped = value
    for _ in range(ORJSON_WRITES - MAX_DEPTH):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)
    except TypeError:  # too deep, or an integer beyond 64 bits
        return _nests_deeper(value, MAX_DEPTH)
    return False


def _nests_deeper(value: Any, levels: int) -> bool:
    found = [value]
    for _ in range(levels):
        found = [
            item
            for one in found
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, (dict, list))
        ]
        if not found:
            return False
    return True


def _json_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
