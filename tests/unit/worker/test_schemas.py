"""Unit tests of endpoints that say with pydantic models what they take and give."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pydantic import (
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic import v1 as pydantic_1

from basic_inference_server import Binary
from basic_inference_server.core.errors import BadInput, EndpointError
from basic_inference_server.worker.execution import Executor, PhaseTimes, load_worker
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ITEM: str = Field(min_length=1)
    COUNT: int = Field(1, ge=1, le=99)
    TAGS: list[str] = []


class Bill(BaseModel):
    total: float
    note: str = "thank you"


class Shop(FlaskWorker):
    """Takes an `Order`, gives a `Bill`."""

    INPUT, OUTPUT = Order, Bill

    def _pre_process(self, inputs: Any) -> Any:
        assert isinstance(inputs, Order)
        return inputs

    def _predict(self, prep_inputs: Any) -> Any:
        if prep_inputs.ITEM == "free":
            return {"total": "nothing"}
        if prep_inputs.ITEM == "object":
            return Bill(total=1)
        return {"total": prep_inputs.COUNT * 2.5, "secret": "not in the model"}


def run(worker_class: type[FlaskWorker] = Shop, **inputs: Any) -> Any:
    return Executor(worker_class(WorkerContext("shop")), {}).execute(inputs, PhaseTimes())


def test_author_gets_the_typed_inputs() -> None:
    """The engine's own fields are not among them; text from a query string becomes a number."""
    answer = run(SIGNATURE="shop", BASE64_OUTPUTS=[], ITEM="tea", COUNT="4")
    assert {"total": 10.0, "note": "thank you"} == answer


def test_result_may_be_the_model_itself() -> None:
    """Or a dict that fits it; what it does not name is left out."""
    assert {"total": 1.0, "note": "thank you"} == run(ITEM="object")
    assert "secret" not in run(ITEM="tea")


def test_each_wrong_field_has_a_detail() -> None:
    """The sentence names the first one."""
    with pytest.raises(BadInput) as caught:
        run(COUNT=100, TAGS=["a", 5], EXTRA="x" * 500)
    error = caught.value
    assert "shop refused the inputs: ITEM: Field required (and 3 more)" == error.message
    details = {detail["field"]: detail for detail in error.details["details"]}
    assert {"ITEM", "COUNT", "TAGS.1", "EXTRA"} == set(details)
    assert (None, "100") == (details["ITEM"]["got"], details["COUNT"]["got"])
    assert len(details["EXTRA"]["got"]) <= 80


def test_number_of_details_is_bounded() -> None:
    """A thousand wrong items are not a thousand lines."""
    with pytest.raises(BadInput) as caught:
        run(ITEM="tea", TAGS=list(range(1000)))
    assert 20 == len(caught.value.details["details"])


def test_result_that_does_not_fit_is_the_endpoints_error() -> None:
    """Said with the model's name and the field."""
    with pytest.raises(EndpointError, match="is no Bill: total: "):
        run(ITEM="free")


@pytest.mark.parametrize("name", ["INPUT", "OUTPUT"])
@pytest.mark.parametrize("wrong", [dict, "Order", 5, Order(ITEM="x", COUNT=1)], ids=str)
def test_what_is_no_model_is_a_load_error(name: str, wrong: Any) -> None:
    """One sentence that says what to change."""
    broken = type("BrokenWorker", (Shop,), {name: wrong})
    with pytest.raises(EndpointLoadError, match=f"BrokenWorker.{name} has to be a subclass of"):
        load_worker(broken, WorkerContext("shop"))


def test_endpoint_without_models_gets_the_fields() -> None:
    """As in the seeds."""

    class Plain(FlaskWorker):
        def _predict(self, prep_inputs: Any) -> Any:
            return prep_inputs

    assert {"SIGNATURE": "shop", "X": 1} == run(Plain, SIGNATURE="shop", X=1)


class Colour(Enum):
    RED = "red"


class Booking(BaseModel):
    """What JSON can only write as text, in a model that takes no other type for a type."""

    model_config = ConfigDict(strict=True)

    DAY: date
    WHEN: AwareDatetime
    FOR: timedelta
    ID: UUID
    PRICE: Decimal
    KIND: Colour
    TAGS: frozenset[str]
    FROM: IPv4Address
    LINK: AnyUrl
    RAW: bytes
    SIGN: Base64Bytes
    PIN: SecretStr
    SEATS: int


BOOKING = {
    "DAY": "2024-02-29",
    "WHEN": "2024-02-29T01:02:03+01:00",
    "FOR": "PT1M30S",
    "ID": "00000000-0000-0000-0000-000000000001",
    "PRICE": "1.10",
    "KIND": "red",
    "TAGS": ["a"],
    "FROM": "10.0.0.1",
    "LINK": "http://example.org/a",
    "RAW": "abc",
    "SIGN": "AP8=",
    "PIN": "1234",
    "SEATS": 2**70,
}


class Desk(FlaskWorker):
    """Gives back what it was given, with the alias of one field."""

    INPUT = OUTPUT = Booking

    def _predict(self, prep_inputs: Any) -> Any:
        return prep_inputs


def test_models_are_read_and_written_as_in_json() -> None:
    """A strict model takes what JSON writes as text, and its own answer is the same JSON."""
    answer = run(Desk, SIGNATURE="desk", **BOOKING)
    assert {**BOOKING, "PIN": "**********"} == answer
    assert answer == json.loads(json.dumps(answer))
    with pytest.raises(BadInput, match="SEATS: Input should be a valid integer"):
        run(Desk, **{**BOOKING, "SEATS": "2"})


class Encoded(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    RAW: bytes


class Scanner(FlaskWorker):
    INPUT = OUTPUT = Encoded

    def _predict(self, prep_inputs: Any) -> Any:
        assert prep_inputs.RAW == b"\x00\xff"
        return prep_inputs


def test_model_says_how_its_bytes_are_written() -> None:
    """In its configuration, for reading and writing alike."""
    assert {"RAW": "AP8="} == run(Scanner, RAW="AP8=")


class Total(BaseModel):
    """Has another name in JSON than in Python."""

    in_euro: float = Field(alias="inEuro")
    blob: Any = None


class Paid(Total):
    secret: str = "not in the model"


@pytest.mark.parametrize(
    "result", [{"in_euro": 1}, {"inEuro": 1}, Total(inEuro=1), Paid(inEuro=1)], ids=repr
)
def test_answer_has_the_aliases_of_its_model(result: Any) -> None:
    """Whichever name the author writes; what a derived class adds is left out."""
    till = type("Till", (FlaskWorker,), {"OUTPUT": Total, "_predict": lambda self, _: result})
    assert {"inEuro": 1.0, "blob": None} == run(till)


def test_value_that_pydantic_does_not_know_is_written_as_everywhere() -> None:
    """A field of any type may hold an array, or bytes with their type."""
    result = {"in_euro": 1, "blob": [np.array([1, 2]), np.float32(0.1), Binary(b"\x00\xff")]}
    till = type("Till", (FlaskWorker,), {"OUTPUT": Total, "_predict": lambda self, _: result})
    assert {"inEuro": 1.0, "blob": [[1, 2], 0.1, "AP8="]} == run(till)


class Upload(BaseModel):
    BODY: Binary
    COUNT: int


class Uploader(FlaskWorker):
    INPUT = Upload

    def _predict(self, prep_inputs: Any) -> Any:
        return {"bytes": len(prep_inputs.BODY), "count": prep_inputs.COUNT}


def test_model_takes_raw_bytes_and_text_beside_them() -> None:
    """They are no JSON; sent as JSON they are refused with the way that they come."""
    assert {"bytes": 3, "count": 2} == run(Uploader, BODY=Binary(b"abc"), COUNT="2")
    with pytest.raises(BadInput, match="BODY: bytes come as a raw body"):
        run(Uploader, BODY="abc", COUNT=2)


@pytest.mark.parametrize("name", ["INPUT", "OUTPUT"])
def test_model_of_pydantic_1_is_named(name: str) -> None:
    """It is a `BaseModel`, only not the one that is meant."""
    old = type("Old", (pydantic_1.BaseModel,), {})
    broken = type("BrokenWorker", (Shop,), {name: old})
    with pytest.raises(EndpointLoadError, match=rf"BrokenWorker.{name} is a model of pydantic 1"):
        load_worker(broken, WorkerContext("shop"))
