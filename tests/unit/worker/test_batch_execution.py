"""Unit tests of executing several requests together: each has its own outcome."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize("result", [None, 5, [1], [1, 2, 3], "ab", {"a": 1, "b": 2}])
def test_wrong_number_of_results_is_the_authors_error(result: Any) -> None:
    """Said in one sentence; nobody is given another's result."""
    _, items, _ = run(result, result, worker_class=Wrong)
    assert ["EndpointError", "EndpointError"] == outcomes(items)
    assert isinstance(items[0].error, EndpointError)
    assert "has to return a list of 2 results" in items[0].error.message


def test_worker_with_only_a_batch_hook_serves_single_requests() -> None:
    """`_predict` is a batch of one then."""
    worker = Doubler(WorkerContext("demo"))
    worker._load_model()
    assert 8 == worker._predict(4)


@given(st.lists(st.sampled_from([1, 2, "a", "refused", "raises", "fails", "post"]), max_size=12))
def test_everybody_gets_what_he_would_get_alone(values: list[Any]) -> None:
    """Whatever the batch is made of."""
    _, together, _ = run(*values)
    alone = [outcomes(run(value)[1])[0] for value in values]
    assert alone == outcomes(together)
