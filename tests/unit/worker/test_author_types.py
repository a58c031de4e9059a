"""Endpoints as authors write them: their own names and types for what the hooks take and return.

mypy, strict, reads this file as it reads all tests, and with it the signatures that are overridden.
pyright finds nothing to say either; it wants parameters without names in the base class.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from basic_inference_server import Binary, FlaskWorker
from basic_inference_server.testing import run_worker, run_worker_batch
from basic_inference_server.worker.hook_shapes import SHARED, WRITTEN


class Order(BaseModel):
    ITEM: str


class Bill(BaseModel):
    TOTAL: float


class ShopWorker(FlaskWorker):
    INPUT, OUTPUT = Order, Bill

    def _load_model(self) -> None:
        self.model = {"a": 1.0}

    def _pre_process(self, order: Order) -> str:
        return order.ITEM

    def _predict(self, item: str) -> float:
        return self.model[item]

    def _post_process(self, price: float) -> Bill:
        return Bill(TOTAL=price)


class PlainWorker(FlaskWorker):
    INPUT = Order

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[P]", **kwargs)

    @classmethod
    def _load_shared(cls, config: dict[str, Any]) -> list[int]:
        return [3]

    def _pre_process(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs

    def _predict(self, inputs: dict[str, Any]) -> dict[str, Any] | Binary:
        return {"x": self.shared[0] * self.cfg_weight}


class BatchWorker(FlaskWorker):
    def _predict_batch(self, rows: Sequence[dict[str, Any]]) -> tuple[int, ...]:
        return tuple(len(row) for row in rows)


class BatchListWorker(FlaskWorker):
    def _predict_batch(self, rows: list[dict[str, Any]]) -> list[int | Exception]:
        return [len(row) for row in rows]


class StreamWorker(FlaskWorker):
    def _predict(self, inputs: dict[str, Any]) -> Iterator[dict[str, str]]:
        yield {"word": "a"}


class AsyncWorker(FlaskWorker):
    async def _load_model(self) -> None:
        self.client = object()

    async def _pre_process(self, inputs: dict[str, Any]) -> str:
        return str(inputs["TEXT"])

    async def _predict(self, text: str) -> dict[str, Any]:
        return await self.acall("other", {"TEXT": text})


class AsyncStreamWorker(FlaskWorker):
    async def _predict(self, inputs: dict[str, Any]) -> AsyncIterator[str]:
        yield "a"


@pytest.mark.parametrize("hook", [*WRITTEN, SHARED])
def test_arguments_of_hooks_have_no_names(hook: str) -> None:
    """Otherwise type checkers refuse every endpoint that calls them differently."""
    function = inspect.unwrap(vars(FlaskWorker)[hook])
    _, *given = inspect.signature(function).parameters.values()
    assert {inspect.Parameter.POSITIONAL_ONLY} >= {one.kind for one in given}


def test_endpoints_with_types_of_their_own_run() -> None:
    """What type checkers accept is what the engine calls."""
    assert {"TOTAL": 1.0} == run_worker(ShopWorker, {"ITEM": "a"})
    assert {"x": 6} == run_worker(PlainWorker, {"ITEM": "a"}, config={"WEIGHT": 2})
    assert [{"data": 1}] == run_worker_batch(BatchListWorker, [{"X": 1}])
    assert {"data": [{"word": "a"}]} == run_worker(StreamWorker, {})
