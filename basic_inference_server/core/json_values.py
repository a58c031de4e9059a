"""What becomes of values that JSON has no form for: Python's, numpy's, pandas', pydantic's.

A value is turned into simpler ones, one level at a time; the writer asks again for what is in it.
Types of libraries are known by name, so that none of them is imported here.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections import UserString
from collections.abc import Callable, Mapping, Sequence, Set, ValuesView
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import orjson

from basic_inference_server.core.json_arrays import (
    array_value,
    frame_value,
    is_missing_value,
    scalar_value,
)
from basic_inference_server.core.json_refusals import refusal
from basic_inference_server.core.type_names import comes_from

Convert = Callable[[Any], Any]
BYTES: Final = (bytes, bytearray, memoryview)
TEXTS: Final = (Decimal, PurePath, UserString)
TEXT_TYPES: Final = (
    ("ipaddress",), ("uuid", "UUID"), ("zoneinfo", "ZoneInfo"), ("pandas", "Period", "Interval"),
)  # fmt: skip
LISTS: Final = (Sequence, Set, ValuesView)
MAX_KNOWN_TYPES: Final = 1024
# What libraries call the method that makes Python's own values of theirs: numpy, torch and jax,
# polars, pyarrow.
TO_PYTHON: Final = ("tolist", "to_dicts", "to_pylist", "to_list")


def json_value(value: Any) -> Any:
    """Return what is written in the place of a value.

    Raises:
        TypeError: nothing can be; the message names the type and says what to write.
    """
    return converter(type(value))(value)


def converter(kind: type) -> Convert:
    """Return what turns values of a type into simpler ones."""
    known = _converters.get(kind)
    if known is None:
        if len(_converters) >= MAX_KNOWN_TYPES:  # of an endpoint that makes classes
            _converters.clear()
        known = _converters[kind] = _converter_for(kind)
    return known


def _converter_for(kind: type) -> Convert:
    for rule in _RULES:
        if rule.applies(kind):
            return rule.convert
    names = _field_names(kind)
    if names is not None:
        return partial(_by_fields, names)
    for method in TO_PYTHON:
        if hasattr(kind, method):
            return partial(_by_method, method)
    for rule in _LAST_RULES:
        if rule.applies(kind):
            return rule.convert
    return _refuse


class Rule(NamedTuple):
    """How the values of some types are written."""

    applies: Callable[[type], bool]
    convert: Convert


def _derived_from(*bases: Any) -> Callable[[type], bool]:
    return lambda kind: issubclass(kind, bases)


def _named(library: str, *names: str) -> Callable[[type], bool]:
    return lambda kind: comes_from(kind, library, *names)


def _having(attribute: str) -> Callable[[type], bool]:
    return lambda kind: hasattr(kind, attribute)


def _refuse(value: Any) -> Any:
    raise refusal(value)


def _base64_text(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode("ascii")


def _by_method(method: str, value: Any) -> Any:
    simpler = getattr(value, method)()
    if type(simpler) is type(value):
        raise refusal(value)
    return simpler


def _field_names(kind: Any) -> dict[str, str] | None:
    """Return for each name in JSON the attribute, of a class that declares its fields."""
    if hasattr(kind, "__dataclass_fields__"):
        return {one.name: one.name for one in dataclasses.fields(kind)}
    if hasattr(kind, "__struct_fields__"):  # of msgspec
        return dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    if hasattr(kind, "__attrs_attrs__"):
        return {one.name: one.name for one in kind.__attrs_attrs__}
    return None


def _by_fields(names: dict[str, str], value: Any) -> dict[str, Any]:
    return {name: getattr(value, attribute) for name, attribute in names.items()}


def model_value(dump: Callable[..., Any], name: str) -> Any:
    """Return a pydantic model in the form that it has in JSON: by alias, with its own serializers.

    Args:
        dump: its `model_dump`, or what does the same.
        name: how the model is called.

    Raises:
        TypeError: it has bytes that are no text.
    """
    try:
        return dump(mode="json", by_alias=True, fallback=_plain_value)
    except UnicodeDecodeError as error:
        raise TypeError(
            f"{name} has bytes that are no UTF-8; give the field the type Base64Bytes, or set "
            'ser_json_bytes to "base64" in the model_config'
        ) from error


def json_of_request(fields: dict[str, Any]) -> bytes | None:
    """Return a request's fields as the JSON that they came in; `None` where there are bytes."""
    try:
        return orjson.dumps(fields)
    except TypeError:
        pass
    try:
        return json.dumps(fields).encode()  # integers beyond 64 bits
    except (TypeError, ValueError):
        return None


def _plain_value(value: Any) -> Any:
    """Return what pydantic does not know as values that it does."""
    return orjson.loads(orjson.dumps(value, json_value, PLAIN_OPTIONS))


PLAIN_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_NON_STR_KEYS

_RULES: Final = (
    Rule(_derived_from(type), _refuse),
    Rule(_derived_from(*BYTES), _base64_text),
    Rule(_named("numpy", "ndarray"), array_value),
    Rule(_named("numpy", "generic"), scalar_value),
    Rule(is_missing_value, lambda _: None),
    Rule(_named("pandas", "DataFrame"), frame_value),
    Rule(_named("pandas", "Series", "Index"), lambda value: value.to_numpy()),
    Rule(_derived_from(date, time), lambda value: value.isoformat()),
    Rule(_derived_from(timedelta), lambda value: value.total_seconds()),
    Rule(_derived_from(float), float),
    Rule(_derived_from(*TEXTS), str),
    *(Rule(_named(*names), str) for names in TEXT_TYPES),
    Rule(_derived_from(re.Pattern), lambda value: value.pattern),
    Rule(_having("model_dump"), lambda value: model_value(value.model_dump, type(value).__name__)),
    Rule(_named("pydantic", "BaseModel"), lambda value: value.dict(by_alias=True)),  # pydantic 1
    Rule(_derived_from(SimpleNamespace), vars),
    Rule(_derived_from(Mapping), dict),
)
_LAST_RULES: Final = (
    Rule(_named("pydantic"), str),  # its URLs, its secrets
    Rule(_named("pydantic_core"), str),
    Rule(_derived_from(*LISTS), list),
    Rule(_having("__array__"), lambda value: value.__array__()),  # of tensorflow, of xarray
    Rule(_having("__bytes__"), _base64_text),  # a `Binary`
)
_converters: dict[type, Convert] = {}
