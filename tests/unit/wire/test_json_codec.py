"""Unit tests of strict JSON: what is read, what is refused, what is written and how."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from basic_inference_server.core.errors import BadJson
from basic_inference_server.wire.json_codec import decode_object, encode


@dataclass
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


class Answer(BaseModel):
    score: float
    seen: frozenset[str] = frozenset()
    raw: bytes = b""


class Scored(NamedTuple):
    label: str
    score: float


class Colour(Enum):
    RED = "red"


class Label(str):
    __slots__ = ()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=50, database=None)
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_any_object_survives_its_journey(value: dict[str, Any]) -> None:
    """What one side writes the other side reads, and any other JSON reader too."""
    encoded = encode(value)
    assert value == decode_object(encoded)
    assert value == json.loads(encoded)


@settings(deadline=None, max_examples=200, database=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_bad_json(body: bytes) -> None:
    """No input raises anything but the client's error."""
    try:
        value = decode_object(body)
    except BadJson as error:
        assert error.message  # noqa: PT017 - either outcome is fine
    else:
        assert isinstance(value, dict)


@pytest.mark.parametrize(
    "number",
    [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19 + 1, 10**40 + 1, 10**4000 + 1],
)
def test_integer_of_any_length_is_exact(number: int) -> None:
    """It never becomes a float without a word; a float stays one."""
    body = f'{{"a":[{number},{{"b":{number}}}],"c":{number}.0e0,"d":0.{"1" * 30}}}'.encode()
    if number < 10**300:
        expected = {"a": [number, {"b": number}], "c": float(number), "d": float("0." + "1" * 30)}
        assert str(expected) == str(decode_object(body))
    assert number == decode_object(f'{{"a":{number}}}'.encode())["a"]


def test_integer_that_python_does_not_read_is_refused() -> None:
    """It has limits of its own, against slow conversions."""
    with pytest.raises(BadJson):
        decode_object(b'{"a":' + b"1" * 5000 + b"}")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_object_is_read_from_any_buffer(kind: type[Any]) -> None:
    """A body is read where it is, whatever holds it."""
    assert {"a": [1, 2.5, "é", None]} == decode_object(kind('{"a": [1, 2.5, "é", null]}'.encode()))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"{} {}", id="trailing text"),
        pytest.param(b'{"a":1}\0', id="trailing nul"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b'{"a":NaN}', id="not a number"),
        pytest.param(b'{"a":Infinity}', id="infinity"),
        pytest.param(b'{"a":-Infinity}', id="minus infinity"),
        pytest.param(b'{"a":1e400}', id="too big for a float"),
        pytest.param(b'{"a":"\xff"}', id="invalid utf-8"),
        pytest.param(b'{"a":"\xc0\xaf"}', id="overlong utf-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="surrogate in utf-8"),
        pytest.param(b'{"a":"\\ud800"}', id="half a character"),
        pytest.param(b'{"a":"\n"}', id="control character"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":01}', id="leading zero"),
        pytest.param(b'{"a":+1}', id="plus sign"),
        pytest.param(b'{"a":.5}', id="no digit before the point"),
        pytest.param(b'{"a":0x10}', id="hexadecimal"),
        pytest.param(b"{a:1}", id="name without quotes"),
        pytest.param(b'{"a":1 /* c */}', id="comment"),
        pytest.param('{"a":1}'.encode("utf-16"), id="utf-16"),
        pytest.param('{"a":1}'.encode("utf-16-le"), id="utf-16 without a mark"),
        pytest.param('{"a":1}'.encode("utf-32-be"), id="utf-32"),
        pytest.param(b"{+AGE-:1}", id="utf-7"),
        pytest.param(b'{"a":' + b"[" * 100_000, id="deep arrays"),
        pytest.param(b'{"a":tru}', id="half a word"),
    ],
)
def test_body_that_is_not_strict_json_is_refused(body: bytes) -> None:
    """Each is `bad_json`, and none is a recursion error."""
    with pytest.raises(BadJson, match=r"^The body is not valid JSON: .*line \d+ column \d+"):
        decode_object(body)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", "an array"),
        (b'"x"', "a string"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"1", "a number"),
        (b"1.5", "a number"),
    ],
)
def test_value_that_is_no_object_is_refused_by_its_kind(body: bytes, kind: str) -> None:
    """The sentence says what was sent instead."""
    with pytest.raises(BadJson) as caught:
        decode_object(body)
    assert f"The body must be a JSON object, not {kind}." == caught.value.message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param([math.nan, math.inf, -math.inf], "[null,null,null]", id="no numbers"),
        pytest.param(b"\x00\xff", '"AP8="', id="bytes"),
        pytest.param(bytearray(b"ab"), '"YWI="', id="bytearray"),
        pytest.param(memoryview(b"ab"), '"YWI="', id="memoryview"),
        pytest.param({"x"}, '["x"]', id="set"),
        pytest.param(frozenset([1]), "[1]", id="frozen set"),
        pytest.param((1, 2), "[1,2]", id="tuple"),
        pytest.param(OrderedDict(a=1), '{"a":1}', id="dict of another class"),
        pytest.param(MappingProxyType({"a": 1}), '{"a":1}', id="mapping"),
        pytest.param(Decimal("1.10"), '"1.10"', id="decimal keeps its digits"),
        pytest.param(PurePosixPath("/a/b"), '"/a/b"', id="path"),
        pytest.param(Colour.RED, '"red"', id="enum"),
        pytest.param(Label("x"), '"x"', id="text of another class"),
        pytest.param(UUID(int=1), '"00000000-0000-0000-0000-000000000001"', id="uuid"),
        pytest.param(date(2024, 2, 29), '"2024-02-29"', id="date"),
        pytest.param(datetime(2024, 2, 29, 1, 2, 3, tzinfo=timezone.utc),
                     '"2024-02-29T01:02:03+00:00"', id="datetime"),
        pytest.param(Point(1, {"a"}), '{"x":1,"tags":["a"]}', id="dataclass with a set"),
        pytest.param(Answer(score=0.5, seen=frozenset("a"), raw=b"ab"),
                     '{"score":0.5,"seen":["a"],"raw":"ab"}', id="pydantic model"),
        pytest.param({1: "a", -2: "b"}, '{"1":"a","-2":"b"}', id="integer key"),
        pytest.param({None: 1, 2.5: 2}, '{"null":1,"2.5":2}', id="other keys"),
        pytest.param({date(2024, 2, 29): 1}, '{"2024-02-29":1}', id="date as a key"),
        pytest.param({None: 2**64, True: 1, 2.5: 2},
                     '{"null":18446744073709551616,"true":1,"2.5":2}', id="keys beside a big one"),
        pytest.param({Colour.RED: {2: 2**64}}, '{"red":{"2":18446744073709551616}}',
                     id="enum as a key"),
        pytest.param(Scored("cat", 0.5), '["cat",0.5]', id="named tuple"),
        pytest.param(2**64 - 1, "18446744073709551615", id="largest integer of 64 bits"),
        pytest.param([2**64, -(2**63) - 1, 10**40], "[18446744073709551616,-9223372036854775809,"
                     "10000000000000000000000000000000000000000]", id="larger integers"),
        pytest.param({"a": "\ud800b"}, '{"a":"\ufffdb"}', id="half a character"),
        pytest.param({"\udcff": 1}, '{"\ufffd":1}', id="half a character in a key"),
        pytest.param([Point(2**70), Answer(score=1)], '[{"x":1180591620717411303424,"tags":[]},'
                     '{"score":1.0,"seen":[],"raw":""}]', id="objects beside a big number"),
        pytest.param([2**70, math.nan, np.array([1.5, np.nan]), {b"a"}],
                     '[1180591620717411303424,null,[1.5,null],["YQ=="]]', id="all of it together"),
        pytest.param("é\u2028\x00", '"é\u2028\\u0000"', id="text of any language"),
    ],
)  # fmt: skip
def test_value_of_the_contract_is_written(value: Any, expected: str) -> None:
    """Whatever an endpoint may return has one form on the wire."""
    assert expected == encode(value).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(np.array([1, 2, 3]), "[1,2,3]", id="integers"),
        pytest.param(np.array([[1.5, np.nan], [np.inf, -np.inf]]), "[[1.5,null],[null,null]]",
                     id="matrix with no numbers"),
        pytest.param(np.array([0.5], np.float32), "[0.5]", id="float32"),
        pytest.param(np.array([1.5, np.nan], np.float16), "[1.5,null]", id="float16"),
        pytest.param(np.array([True, False]), "[true,false]", id="booleans"),
        pytest.param(np.array([200], np.uint8), "[200]", id="bytes as numbers"),
        pytest.param(np.arange(6)[::2], "[0,2,4]", id="every second one"),
        pytest.param(np.arange(4).reshape(2, 2).T, "[[0,2],[1,3]]", id="transposed"),
        pytest.param(np.array(5), "5", id="no dimension"),
        pytest.param(np.zeros((0, 3)), "[]", id="empty"),
        pytest.param(np.array(["a", "é"]), '["a","é"]', id="texts"),
        pytest.param(np.array([1, "a", None, np.nan], object), '[1,"a",null,null]', id="objects"),
        pytest.param(np.array(["2024-02-29"], "datetime64[s]"), '["2024-02-29T00:00:00"]',
                     id="times"),
        pytest.param(np.float64(0.5), "0.5", id="float64 scalar"),
        pytest.param(np.float32("nan"), "null", id="float32 scalar that is no number"),
        pytest.param(np.int64(-5), "-5", id="int64 scalar"),
        pytest.param(np.uint8(5), "5", id="uint8 scalar"),
        pytest.param(np.bool_(True), "true", id="bool scalar"),
        pytest.param(np.str_("x"), '"x"', id="text scalar"),
        pytest.param(np.bytes_(b"ab"), '"YWI="', id="bytes scalar"),
    ],
)  # fmt: skip
def test_numpy_value_is_written(value: Any, expected: str) -> None:
    """A model's output needs no conversion, in whatever memory order or precision it is."""
    assert expected == encode(value).decode()
    assert f'{{"data":[{expected}]}}' == encode({"data": [value]}).decode()


def test_numpy_number_as_a_key_is_written() -> None:
    """Counting predicted classes gives a dict with such keys."""
    assert b'{"3":0.5}' == encode({np.int64(3): 0.5})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        pytest.param(object(), "object", id="object"),
        pytest.param({"a": [object()]}, "object", id="deep inside"),
        pytest.param(1j, "complex", id="complex number"),
        pytest.param(np.array([1j]), "complex", id="complex array"),
        pytest.param(len, "builtin_function_or_method", id="function"),
        pytest.param(Point, "Point", id="a class itself"),
        pytest.param(Answer, "Answer", id="a model itself"),
    ],
)
def test_value_of_an_unknown_type_is_refused_by_its_name(value: Any, named: str) -> None:
    """The author reads which type has to be converted."""
    with pytest.raises(TypeError, match=f"^{named} cannot be written as JSON; "):
        encode(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({(1, 2): 3}, id="tuple"),
        pytest.param({b"a": 3}, id="bytes"),
        pytest.param({frozenset([1]): 3}, id="frozen set"),
        pytest.param({object(): 3}, id="object"),
        pytest.param({"a": {(1, 2): 2**64}}, id="tuple beside a big number"),
    ],
)
def test_key_that_has_no_text_of_its_own_is_a_type_error(value: Any) -> None:
    """What a reader could not turn back into the key is not made up."""
    with pytest.raises(TypeError):
        encode(value)


def test_value_that_holds_itself_is_refused() -> None:
    """A cycle ends, and not in a crash."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(TypeError, match="nested deeper than 254 levels"):
        encode(cycle)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(("levels", "is_read"), [(199, True), (200, False), (300, False)])
def test_what_is_read_can_be_written(
    kind: Callable[[bytes], bytes | bytearray | memoryview], levels: int, is_read: bool
) -> None:
    """With a few levels more, which an endpoint may put around it."""
    body = kind(b'{"v":' + b"[" * levels + b"]" * levels + b"}")
    if is_read:
        assert encode({"data": [[decode_object(body)]]})
    else:
        with pytest.raises(BadJson, match="deeper than 200"):
            decode_object(body)


@pytest.mark.parametrize("levels", [1000, 5000, 100_000])
def test_deep_nesting_is_bad_json(levels: int) -> None:
    """However deep it is, and however deep this Python can read."""
    with pytest.raises(BadJson):
        decode_object(b'{"a":' * levels + b"1" + b"}" * levels)


@pytest.mark.parametrize("number", [1, 2**64])
def test_many_brackets_are_not_deep(number: int) -> None:
    """A list of a thousand objects is two levels of nesting, long integers in it or not."""
    body = encode({"v": [{"a": number} for _ in range(1000)]})
    assert 1000 == len(decode_object(body)["v"])


@pytest.mark.parametrize(("levels", "is_read"), [(199, True), (200, False)])
def test_depth_is_counted_beside_a_long_integer(levels: int, is_read: bool) -> None:
    """The writer in C, which is asked otherwise, cannot be asked then."""
    body = f'{{"a":{2**64},"v":{"[" * levels}{"]" * levels}}}'.encode()
    if is_read:
        assert encode({"data": [[decode_object(body)]]})
    else:
        with pytest.raises(BadJson, match="deeper than 200"):
            decode_object(body)
