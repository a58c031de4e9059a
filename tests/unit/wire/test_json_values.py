"""Unit tests of what libraries' values become in JSON: dates, tables, models, what has no form."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import warnings
from array import array
from collections import UserDict, UserList, UserString, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import numpy as np
import pandas as pd
import pytest
from flask import Response
from PIL import Image
from pydantic import (
    AliasGenerator,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    SecretStr,
)
from pydantic import v1 as pydantic_1
from pydantic.dataclasses import dataclass as pydantic_dataclass

from basic_inference_server.wire.json_codec import encode, encode_anything

UTC = timezone.utc
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "10s", "25us"]


class Moment(datetime):
    """A date and time of another class."""


class Day(date):
    """A date of another class."""


class Ratio(float):
    """A float of another class."""


class Code(str):
    """A text of another class."""

    __slots__ = ()


class Size(int):
    """An integer of another class."""


class Length(Enum):
    DAY = timedelta(days=1)


@dataclass
class Hidden:
    """Has a field that starts with an underscore, and an attribute that is no field."""

    kind: ClassVar[str] = "hidden"
    _secret: int = 1
    shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.cache = "of its own"


class Row(msgspec.Struct, rename="camel"):
    a: int
    took_time: timedelta


class Old(pydantic_1.BaseModel):
    a_b: int = pydantic_1.Field(1, alias="aB")


class Loud(BaseModel):
    model_config = ConfigDict(
        arbitrary_types_allowed=True, alias_generator=AliasGenerator(serialization_alias=str.upper)
    )
    url: AnyUrl = AnyUrl("http://example.org/a")
    took: timedelta = timedelta(minutes=1)
    key: SecretStr = SecretStr("x")
    seen: AwareDatetime = datetime(2024, 2, 29, tzinfo=UTC)
    content: Base64Bytes
    vector: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(1))


class Raw(BaseModel):
    content: bytes


@pydantic_dataclass
class Checked:
    url: AnyUrl


def some() -> Iterator[int]:
    yield from (1, 2)


VALUES = [
    pytest.param(Moment(2024, 2, 29, 1, 2, 3), '"2024-02-29T01:02:03"', id="datetime"),
    pytest.param(Day(2024, 2, 29), '"2024-02-29"', id="date"),
    pytest.param(time(1, 2, tzinfo=UTC), '"01:02:00+00:00"', id="time with a zone"),
    pytest.param(timedelta(minutes=1, milliseconds=500), "60.5", id="duration in seconds"),
    pytest.param(Ratio(0.5), "0.5", id="float"),
    pytest.param(Ratio("nan"), "null", id="float that is no number"),
    pytest.param([Code("x"), Size(5), Size(2**70)], f'["x",5,{2**70}]', id="text and integers"),
    pytest.param(Length.DAY, "86400.0", id="enum of durations"),
    pytest.param(deque([1, 2]), "[1,2]", id="deque"),
    pytest.param(range(3), "[0,1,2]", id="range"),
    pytest.param(array("i", [1, 2]), "[1,2]", id="array of Python's"),
    pytest.param(UserList([1]), "[1]", id="list of another class"),
    pytest.param(UserDict(a=1), '{"a":1}', id="dict of another class"),
    pytest.param(UserString("ab"), '"ab"', id="text of yet another class"),
    pytest.param({"a": 1}.values(), "[1]", id="values of a dict"),
    pytest.param({"a": 1}.keys(), '["a"]', id="keys of a dict"),
    pytest.param({"a": 1}.items(), '[["a",1]]', id="items of a dict"),
    pytest.param(ip_address("::1"), '"::1"', id="IP address"),
    pytest.param(ip_network("10.0.0.0/8"), '"10.0.0.0/8"', id="IP network"),
    pytest.param(re.compile("a+"), '"a+"', id="pattern"),
    pytest.param(SimpleNamespace(a=1), '{"a":1}', id="namespace"),
    pytest.param(Hidden(), '{"_secret":1,"shown":[]}', id="dataclass: its fields, and only they"),
    pytest.param(Row(1, timedelta(1)), '{"a":1,"tookTime":86400.0}', id="struct of msgspec"),
    pytest.param(Old(aB=2), '{"aB":2}', id="model of pydantic 1"),
    pytest.param(Loud(content=b"YWI="), '{"URL":"http://example.org/a","TOOK":"PT1M","KEY":"**********",'
                 '"SEEN":"2024-02-29T00:00:00Z","CONTENT":"YWI=","VECTOR":[0.0]}',
                 id="model of pydantic: as its model_dump_json writes it"),
    pytest.param(Checked(AnyUrl("http://a/")), '{"url":"http://a/"}', id="dataclass of pydantic"),
    pytest.param([AnyUrl("http://a/"), SecretStr("x")], '["http://a/","**********"]',
                 id="what pydantic makes of texts"),
    pytest.param(np.longdouble(0.5), "0.5", id="long double"),
    pytest.param(np.array([0.5, "nan"], np.longdouble), "[0.5,null]", id="long doubles"),
    pytest.param(np.array([1, 2], ">i4"), "[1,2]", id="other byte order"),
    pytest.param(np.ma.masked_array([1, 2], [False, True]), "[1,null]", id="masked array"),
    pytest.param(np.array([(1, "2024-02-29")], [("a", int), ("b", "M8[D]")]),
                 '[[1,"2024-02-29T00:00:00"]]', id="records"),
    pytest.param(np.timedelta64(1500, "ms"), "1.5", id="duration of numpy"),
    pytest.param(np.array([1, "NaT"], "m8[m]"), "[60.0,null]", id="durations of numpy"),
    pytest.param(np.array(["2024-02-29T01:02:03.5", "NaT"], "M8[ns]"),
                 '["2024-02-29T01:02:03.500000",null]', id="times of numpy"),
    pytest.param(np.datetime64("2024-02-29T01:02:03.123456789"),
                 '"2024-02-29T01:02:03.123456789"', id="nanoseconds are kept"),
    pytest.param(np.array(["20000", "NaT"], "M8[Y]"), '["20000",null]', id="a year of five digits"),
    pytest.param(np.array(["1000000"], "M8[Y]"), '["1000000"]', id="a year of seven digits"),
    pytest.param(np.array(3, "M8[10s]"), '"1970-01-01T00:00:30"', id="times in tens of seconds"),
    pytest.param(pd.Timestamp("2024-02-29T01:02:03", tz="UTC"), '"2024-02-29T01:02:03+00:00"',
                 id="Timestamp"),
    pytest.param([pd.NaT, pd.NA], "[null,null]", id="what pandas misses"),
    pytest.param(pd.Timedelta(seconds=1.5), "1.5", id="Timedelta"),
    pytest.param(pd.Period("2024-02"), '"2024-02"', id="Period"),
    pytest.param(pd.Series([1, None, 3], index=[7, 8, 9]), "[1.0,null,3.0]", id="Series"),
    pytest.param(pd.Series(["a", None], dtype="string"), '["a",null]', id="Series of texts"),
    pytest.param(pd.Index([1, 2]), "[1,2]", id="Index"),
    pytest.param(pd.Categorical(["b", "a"]), '["b","a"]', id="Categorical"),
    pytest.param(
        pd.DataFrame({
            "n": [1, 2], "x": [0.5, None], "t": pd.to_datetime(["2024-02-29", None]),
            "i": pd.array([1, None], dtype="Int64"),
        }),
        '[{"n":1,"x":0.5,"t":"2024-02-29T00:00:00","i":1},{"n":2,"x":null,"t":null,"i":null}]',
        id="DataFrame as records",
    ),
    pytest.param(pd.DataFrame({2024: [1]}), '[{"2024":1}]', id="columns that are numbers"),
    pytest.param({pd.Timestamp("2024-02-29"): 1, Decimal("1.5"): 2, PurePosixPath("/a"): 3,
                  pd.NA: 4, 2**70: 5, UUID(int=1): 6},
                 '{"2024-02-29T00:00:00":1,"1.5":2,"/a":3,"null":4,"1180591620717411303424":5,'
                 '"00000000-0000-0000-0000-000000000001":6}', id="keys"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_value_of_a_library_is_written(value: Any, expected: str) -> None:
    """As whoever returns it expects, alone, inside, and beside what needs the slower way."""
    assert expected == encode(value).decode()
    assert f'{{"data":[{expected}]}}' == encode({"data": [value]}).decode()
    assert f"[{expected},{2**64}]" == encode([value, 2**64]).decode()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", [np.datetime64, np.timedelta64])
def test_not_a_time_is_null(kind: Any, unit: str) -> None:
    """Whatever its unit: neither 1677 nor 1970, nor the end of the process."""
    missing = kind("NaT", unit)
    assert b'[null,[null,null],{"a":null}]' == encode(
        [missing, np.array([missing, missing]), {"a": missing}]
    )


def test_not_a_time_without_a_unit_is_null() -> None:
    """As numpy gives it, with a warning from 2.5 on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        missing = np.datetime64("NaT")
    assert b"[null,[null]]" == encode([missing, np.array([missing])])


@pytest.mark.parametrize("beside", [1, 2**64, {1: "a"}])
def test_iterator_is_a_list_of_its_items(beside: Any) -> None:
    """Read once, even where the answer is written a second, slower way."""
    value = [some(), map(str, some()), zip("a", "b", strict=True), islice("abc", 1), beside]
    expected = f'[[1,2],["1","2"],[["a","b"]],["a"],{encode(beside).decode()}]'
    assert expected == encode(value).decode()


@pytest.mark.parametrize(
    "beside", [pd.Timestamp("2024-02-29"), np.array("NaT", "M8[10s]")[()], {1}]
)
def test_numbers_of_numpy_are_written_beside_anything(beside: Any) -> None:
    """In their own precision, few or many, whether or not orjson is let write them."""
    numbers = [np.float32(0.1), np.float16(0.1), np.float64(0.1), np.int8(5), np.bool_(True)]
    big = np.arange(5000)
    written = "[0.1,0.099975586,0.1,5,true]"
    assert f"[{','.join([written] * 9)}]" == encode([numbers] * 9).decode()
    assert f"[{','.join(['0.1'] * 9)}]" == encode(numbers[:1] * 9).decode()
    many = f"[{','.join([written] * 9)},{encode(beside).decode()}]"
    assert many == encode([*[numbers] * 9, beside]).decode()
    assert written == encode(numbers).decode() == encode(tuple(numbers)).decode()
    assert f"[{written},{encode(beside).decode()}]" == encode([numbers, beside]).decode()
    assert encode([list(range(5000)), beside]) == encode([big, beside])
    assert f'{{"a":{written}}}' == encode(defaultdict(list, a=numbers)).decode()


class Plain:
    """Has attributes, and no form of its own."""


ADVICE = [
    pytest.param(Image.new("L", (1, 1)), "Image", "Binary.of_image", id="image"),
    pytest.param(Response(), "Response", "without status", id="response of Flask"),
    pytest.param(Plain(), "Plain", "vars", id="object"),
    pytest.param(1j, "complex", "value.real", id="complex number"),
    pytest.param(np.clongdouble(1j), "complex", "value.real", id="long complex number"),
    pytest.param(asyncio.Future, "Future", "an instance", id="class"),
    pytest.param(np.ndarray, "ndarray", "an instance", id="class of numpy's"),
    pytest.param(len, "builtin_function_or_method", "call it", id="function"),
    pytest.param(ValueError("x"), "ValueError", r"str\(error\)", id="exception"),
    pytest.param(Fraction(1, 3), "Fraction", r"str\(value\)", id="fraction"),
    pytest.param(threading.Lock(), "lock", r"str\(value\)", id="lock"),
    pytest.param(np.timedelta64(1, "M"), "timedelta64", "months", id="months"),
    pytest.param(pd.DataFrame([[1, 2]], columns=["a", "a"]), "DataFrame", "'a'", id="columns"),
    pytest.param({(1, 2): 3}, "a key of type tuple", "as text", id="key"),
    pytest.param({Hidden: 3}, "Hidden", "an instance", id="key that is a class"),
    pytest.param(Raw(content=b"\xff"), "Raw", "Base64Bytes", id="bytes of a model"),
]


@pytest.mark.parametrize(("value", "named", "advice"), ADVICE)
def test_what_cannot_be_written_is_refused_with_what_to_write(
    value: Any, named: str, advice: str
) -> None:
    """The author reads which type it is, and the call that makes something else of it."""
    with pytest.raises(TypeError, match=f"{named}.*{advice}"):
        encode({"data": [value]})


def test_coroutine_that_was_not_awaited_is_refused() -> None:
    """With the word that is missing."""

    async def answer() -> int:
        return 1

    coroutine = answer()
    with pytest.raises(TypeError, match="write await in front of it"):
        encode(coroutine)
    coroutine.close()


SHOWN = "<Broken that cannot be shown>"


class Broken:
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def tolist(self) -> Any:
        raise RuntimeError("no list")


def test_anything_of_a_log_line_is_written() -> None:
    """With its text or its class's name; an iterator of the endpoint's is not read for that."""
    items = iter([1, 2])
    line = {"a": Broken(), "b": items, Broken(): 1}
    written = json.loads(encode_anything(line))
    assert (SHOWN, 1) == (written["a"], written[SHOWN])
    assert "list_iterator" in written["b"]
    assert [1, 2] == list(items)
