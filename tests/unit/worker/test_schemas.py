"""Unit tests of endpoints that say with pydantic models what they take and give."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

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
