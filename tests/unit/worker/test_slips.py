"""Unit tests of what an author is told about slips that show when a worker loads or runs."""

from __future__ import annotations

from http import HTTPStatus
from importlib import import_module
from typing import Any, cast

import pytest

from basic_inference_server import Binary
from basic_inference_server.core.errors import EndpointError
from basic_inference_server.worker.execution import Executor, PhaseTimes, load_worker
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError


class ForgetfulWorker(FlaskWorker):
    """Its hooks forget to return."""

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        inputs["X"] = 5

    def _predict(self, prep_inputs: Any) -> Any:
        return prep_inputs["X"] if self.config_data.get("WANTS") else None

    def _post_process(self, pred: Any) -> Any:
        return pred.upper()


def failure_of(worker_class: type[FlaskWorker], **config: Any) -> str:
    executor = Executor(worker_class(context=WorkerContext("demo", config)), {})
    with pytest.raises(EndpointError) as caught:
        executor.execute({}, PhaseTimes())
    assert caught.value.__cause__ is not None
    return str(caught.value)


def test_pre_process_without_a_return_is_named() -> None:
    """When that is what `_predict` stumbles over."""
    assert (
        "demo failed: TypeError: 'NoneType' object is not subscriptable; "
        "ForgetfulWorker._pre_process returned None"
    ) == failure_of(ForgetfulWorker, WANTS=True)


def test_nothing_that_another_hook_returns_is_not_pre_process() -> None:
    """`_predict` may want nothing; what fails later is another slip."""
    assert "demo failed: AttributeError: 'NoneType' object has no attribute 'upper'" == (
        failure_of(ForgetfulWorker)
    )


def test_other_errors_are_told_as_they_are() -> None:
    """Nothing is said of `_pre_process` when it has returned something, or about other values."""

    class OtherWorker(ForgetfulWorker):
        def _pre_process(self, inputs: dict[str, Any]) -> Any:
            return None if self.config_data.get("NOTHING") else {}

        def _predict(self, prep_inputs: Any) -> Any:
            nothing: Any = None
            return len(cast("Any", 5)) if prep_inputs is None else nothing["X"]

    assert failure_of(OtherWorker).endswith("'NoneType' object is not subscriptable")
    assert failure_of(OtherWorker, NOTHING=True).endswith("object of type 'int' has no len()")


def test_missing_module_of_a_load_is_named_with_its_installation() -> None:
    """Also where it is imported when the model is loaded."""

    class LazyWorker(FlaskWorker):
        def _load_model(self) -> None:
            import_module("sklearn_that_is_not_there.svm")

    with pytest.raises(EndpointLoadError) as caught:
        load_worker(LazyWorker, WorkerContext())
    assert (
        "LazyWorker could not load: ModuleNotFoundError: No module named "
        "'sklearn_that_is_not_there'; pip install sklearn_that_is_not_there"
    ) == str(caught.value)
    assert caught.value.is_permanent


def test_constructor_that_passes_nothing_on_is_named() -> None:
    """It would otherwise fail at the first attribute, with that one's name."""

    class AloneWorker(FlaskWorker):
        def __init__(self, **kwargs: Any) -> None:
            self.model = 1

    with pytest.raises(EndpointLoadError) as caught:
        load_worker(AloneWorker, WorkerContext())
    assert "AloneWorker.__init__ has to begin with super().__init__(**kwargs)" == str(caught.value)
    assert caught.value.is_permanent


class Returns(FlaskWorker):
    """Returns what the test says."""

    def _predict(self, prep_inputs: Any) -> Any:
        return prep_inputs["RESULT"]


def returned(result: Any) -> Any:
    return Executor(Returns(context=WorkerContext("demo")), {}).execute(
        {"RESULT": result}, PhaseTimes()
    )


@pytest.mark.parametrize(
    "result",
    [
        ({"error": "not there"}, 404),
        ({}, 201),
        ({}, 200, {"X-Mine": "1"}),
        ("not there", 404),
        ("made", 201, {"Location": "/a"}),
        (None, 404),
        (Binary(b"x"), 200),
        ([1], HTTPStatus.CREATED),
    ],
    ids=repr,
)
def test_answer_that_gives_a_status_is_refused(result: Any) -> None:
    """As views of Flask do; answered as data it would be a 200."""
    with pytest.raises(
        EndpointError, match=r"the status \d+, but an endpoint cannot give a status"
    ):
        returned(result)


@pytest.mark.parametrize(
    "result",
    [
        ("cat", 120),
        ("cat", 499),
        ([1, 2], 404),
        ({"a": 1}, 1000),
        ({"a": 1}, 0.5),
        ({"a": 1}, True),
        (404, {"a": 1}),
        ({"a": 1}, 404, 5),
        [{"a": 1}, 404],
        ("a", "b"),
        (),
    ],
    ids=repr,
)
def test_tuple_that_is_data_is_data(result: Any) -> None:
    """A label and its count, a list and its length, and whatever is written as a list."""
    assert result == returned(result)
