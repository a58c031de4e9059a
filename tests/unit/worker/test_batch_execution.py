"""Unit tests of executing several requests together: each has its own outcome."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basic_inference_server.core.errors import BadInput, EndpointError
from basic_inference_server.worker.batch_execution import BatchExecutor, Item
from basic_inference_server.worker.execution import Executor
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext


class Doubler(FlaskWorker):
    """Doubles numbers; some are bad in one way or another."""

    batches: list[list[Any]]
    ids: list[tuple[str, str, int]]

    def _load_model(self) -> None:
        self.batches, self.ids = [], []

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        self.ids.append(("pre", self.request_id, self.call_id))
        if inputs["X"] == "refused":
            raise ValueError("not that one")
        return inputs["X"]

    def _predict_batch(self, prepared: list[Any]) -> list[Any]:
        self.batches.append(prepared)
        if "raises" in prepared:
            raise RuntimeError("cannot do it")
        return [ValueError("fails alone") if x == "fails" else x * 2 for x in prepared]

    def _post_process(self, pred: Any) -> Any:
        self.ids.append(("post", self.request_id, self.call_id))
        if pred == "postpost":
            raise KeyError("late")
        return {"y": pred}


def run(*values: Any, worker_class: type[FlaskWorker] = Doubler) -> tuple[Any, list[Item], Any]:
    worker = worker_class(WorkerContext("demo"))
    worker._load_model()
    failed: list[BaseException] = []
    executor = Executor(worker, {})
    items = [
        Item({"X": value}, executor.begin(f"r{number}")) for number, value in enumerate(values)
    ]
    BatchExecutor(executor, failed.append).execute(items)
    return worker, items, failed


def outcomes(items: list[Item]) -> list[Any]:
    return [item.result if item.error is None else type(item.error).__name__ for item in items]


def test_batch_is_one_call() -> None:
    """Each gets its own result, in order."""
    worker, items, _ = run(1, "a", [2])
    assert [[1, "a", [2]]] == worker.batches
    assert [{"y": 2}, {"y": "aa"}, {"y": [2, 2]}] == outcomes(items)


def test_refused_inputs_do_not_reach_the_batch() -> None:
    """422 for one, nothing for the others."""
    worker, items, failed = run(1, "refused", 3)
    assert [[1, 3]] == worker.batches
    assert [{"y": 2}, "BadInput", {"y": 6}] == outcomes(items)
    assert isinstance(items[1].error, BadInput)
    assert [] == failed


@pytest.mark.parametrize("bad", ["raises", "fails"])
def test_bad_item_fails_alone(bad: str) -> None:
    """Whether `_predict_batch` raises for all, or returns the exception for one."""
    worker, items, failed = run(1, bad, 3)
    assert [{"y": 2}, "EndpointError", {"y": 6}] == outcomes(items)
    expected = [[1, bad, 3]] if bad == "fails" else [[1, bad, 3], [1], [bad], [3]]
    assert expected == worker.batches
    assert (bad == "raises") == bool(failed)
    error = items[1].error
    assert error is not None
    assert isinstance(error.__cause__, (RuntimeError, ValueError)), "the log shows its traceback"


def test_failing_post_process_fails_alone() -> None:
    """The others' results are there already."""
    _, items, _ = run("post", 1)
    assert ["EndpointError", {"y": 2}] == outcomes(items)


def test_single_failing_item_is_not_tried_again() -> None:
    """A batch of one has failed alone."""
    worker, items, failed = run("raises")
    assert ([["raises"]], ["EndpointError"], []) == (worker.batches, outcomes(items), failed)


def test_empty_batch_is_not_predicted() -> None:
    """All were refused."""
    worker, _, _ = run("refused", "refused")
    assert [] == worker.batches


def test_hooks_know_whose_turn_it_is() -> None:
    """What an item's own hooks log belongs to its request, and ids go on counting."""
    worker, items, _ = run(1, 2)
    assert [("pre", "r0", 1), ("pre", "r1", 2), ("post", "r0", 1), ("post", "r1", 2)] == worker.ids
    assert [1, 2] == [item.request.call_id for item in items]
    assert (0, "") == (worker.call_id, worker.request_id)


class Wrong(FlaskWorker):
    """Returns something that is no list of results."""

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        return inputs["X"]

    def _predict_batch(self, prepared: list[Any]) -> Any:
        return prepared[0]


class Pair(NamedTuple):
    """What a model with two outputs returns."""

    scores: list[int]
    labels: list[str]


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"first": range(rows), "second": range(rows)})


NO_SEQUENCES = [
    pytest.param(None, "NoneType", id="nothing"),
    pytest.param(5, "int", id="number"),
    pytest.param([1], "list of 1", id="too few"),
    pytest.param([1, 2, 3], "list of more", id="too many"),
    pytest.param(count(), "count of more", id="endless"),
    pytest.param("ab", "str", id="text"),
    pytest.param(b"ab", "bytes", id="bytes"),
    pytest.param(memoryview(b"ab"), "memoryview", id="view of bytes"),
    pytest.param({"a": 1, "b": 2}, "dict; write a list", id="dict"),
    pytest.param({"a": 1, "b": 2}.values(), "dict_values; write a list", id="values of a dict"),
    pytest.param({"a": 1, "b": 2}.keys(), "dict_keys; write a list", id="keys of a dict"),
    pytest.param(UserDict(a=1, b=2), "UserDict; write a list", id="mapping"),
    pytest.param({1, 2}, "set; write a list", id="set"),
    pytest.param(iter({1, 2}), "set_iterator; write a list", id="iterator of a set"),
    pytest.param(Pair([1, 2], ["a", "b"]), "Pair; write a list", id="named tuple"),
    pytest.param(frame(2), 'DataFrame; write .to_dict("records")', id="data frame"),
    pytest.param(np.array(5), "ndarray", id="array of no dimension"),
    pytest.param(np.zeros((3, 2)), "ndarray of more", id="array of more rows"),
]


@pytest.mark.parametrize(("result", "shown"), NO_SEQUENCES)
def test_result_of_a_batch_that_is_no_sequence_is_the_authors_error(
    result: Any, shown: str
) -> None:
    """Said in one sentence that names it; nobody is given another's result."""
    _, items, failed = run(result, result, worker_class=Wrong)
    assert ["EndpointError", "EndpointError"] == outcomes(items)
    assert isinstance(items[0].error, EndpointError)
    assert "has to return a list of 2 results" in items[0].error.message
    assert f"returned {shown}" in items[0].error.message
    assert [] == failed, "asking again would not help"


@pytest.mark.parametrize(
    "result",
    [
        pytest.param([1, 2], id="list"),
        pytest.param((1, 2), id="tuple"),
        pytest.param(np.array([1, 2]), id="array"),
        pytest.param(pd.Series([1, 2], index=[9, 3]), id="series"),
    ],
)
def test_sequence_of_results_is_shared_out_in_its_order(result: Any) -> None:
    """Whatever kind of sequence a model gives."""
    _, items, _ = run(result, result, worker_class=Wrong)
    assert [1, 2] == outcomes(items)


class Lazy(Doubler):
    """Computes its results when they are asked for."""

    def _predict_batch(self, prepared: list[Any]) -> Any:
        return map(self._double, prepared) if prepared[0] == "map" else self._each(prepared)

    def _each(self, prepared: list[Any]) -> Iterator[Any]:
        for x in prepared:
            yield self._double(x)

    def _double(self, x: Any) -> Any:
        if x == "exits":
            raise SystemExit(3)
        return x * 2


@pytest.mark.parametrize("kind", ["map", "generator"])
def test_lazy_batch_is_computed_where_its_errors_are_caught(kind: str) -> None:
    """A generator or `map` that raises fails alone what it raised for."""
    _, items, failed = run(kind, "exits", "a", worker_class=Lazy)
    assert [{"y": kind * 2}, "EndpointError", {"y": "aa"}] == outcomes(items)
    assert ["SystemExit"] == [type(error).__name__ for error in failed]


def test_worker_with_only_a_batch_hook_serves_single_requests() -> None:
    """`_predict` is a batch of one then."""
    worker = Doubler(WorkerContext("demo"))
    worker._load_model()
    assert 8 == worker._predict(4)
    with pytest.raises(ValueError, match="fails alone"):
        worker._predict("fails")


@pytest.mark.parametrize("result", [[], [1, 2], {"a": 1}, {1}, "a", frame(1)])
def test_batch_of_one_follows_the_same_rules(result: Any) -> None:
    """What would be refused at `BATCH_SIZE` 8 is at 1, so that a change of it changes nothing."""
    worker = Wrong(WorkerContext("demo"))
    with pytest.raises(EndpointError, match="has to return a list of 1 results"):
        worker._predict(result)


@given(st.lists(st.sampled_from([1, 2, "a", "refused", "raises", "fails", "post"]), max_size=12))
def test_everybody_gets_what_he_would_get_alone(values: list[Any]) -> None:
    """Whatever the batch is made of."""
    _, together, _ = run(*values)
    alone = [outcomes(run(value)[1])[0] for value in values]
    assert alone == outcomes(together)
