"""Unit tests of what is said at the load about hooks that cannot be called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from basic_inference_server.testing import WorkerHarness
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.hook_shapes import hook_problem
from basic_inference_server.worker.load_error import EndpointLoadError


def predict(self: Any, prep_inputs: Any) -> Any:
    return prep_inputs


def nothing(self: Any) -> None:
    return None


async def later(self: Any, prep_inputs: Any) -> Any:
    return prep_inputs


async def items(self: Any, prep_inputs: Any) -> Any:
    yield prep_inputs


def with_more(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: Any, inputs: Any) -> Any:
        return function(self, inputs, 1)

    return wrapper


def worker_class(**members: Any) -> type[FlaskWorker]:
    return type("SomeWorker", (FlaskWorker,), {"_predict": predict, **members})


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({}, id="plain"),
        pytest.param({"_predict": lambda self, *args: args}, id="any arguments"),
        pytest.param({"_predict": lambda self, x, more=1: x}, id="one more with a default"),
        pytest.param({"_predict": staticmethod(lambda x: x)}, id="static method"),
        pytest.param({"_predict": classmethod(lambda cls, x: x)}, id="class method"),
        pytest.param({"_predict": functools.partialmethod(lambda self, a, x: x, 1)}, id="partial"),
        pytest.param({"_predict": with_more(lambda self, x, extra: x)}, id="decorated"),
        pytest.param({"_load_model": nothing}, id="load"),
        pytest.param(
            {"_predict": later, "_pre_process": later, "_post_process": items}, id="async"
        ),
        pytest.param({"_predict": items}, id="async stream"),
        pytest.param({"_load_shared": classmethod(lambda cls, config: config)}, id="shared"),
        pytest.param({"_load_shared": staticmethod(lambda config: config)}, id="static shared"),
        pytest.param({"__init__": lambda self, **kwargs: None}, id="kwargs"),
        pytest.param({"__init__": lambda self, context: None}, id="context"),
    ],
)
def test_hooks_that_can_be_called_are_fine(members: dict[str, Any]) -> None:
    """However they are written."""
    assert "" == hook_problem(worker_class(**members))


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        pytest.param(
            {"_predict": FlaskWorker._predict},
            "SomeWorker needs a method _predict(self, prep_inputs), or "
            "_predict_batch(self, prepared)", id="no _predict",
        ),
        pytest.param(
            {"_predict": nothing},
            "SomeWorker._predict(self: 'Any') -> 'None' does not take what the engine gives it: "
            "write def _predict(self, prep_inputs)", id="too few arguments",
        ),
        pytest.param(
            {"_pre_process": lambda self, inputs, config: inputs},
            "SomeWorker._pre_process(self, inputs, config) does not take what the engine gives "
            "it: write def _pre_process(self, inputs)", id="too many arguments",
        ),
        pytest.param(
            {"_load_model": lambda: None},
            "SomeWorker._load_model() does not take what the engine gives it: "
            "write def _load_model(self)", id="no self",
        ),
        pytest.param(
            {"_post_process": staticmethod(lambda: 1)},
            "SomeWorker._post_process() does not take what the engine gives it: "
            "write def _post_process(self, pred)", id="static method without it",
        ),
        pytest.param(
            {"_predict_batch": [1]},
            "SomeWorker._predict_batch has to be a method, not list: "
            "write def _predict_batch(self, prepared)", id="no method",
        ),
        pytest.param(
            {"_predict_batch": later},
            "SomeWorker._predict_batch is async, and nobody would await it: "
            "write def _predict_batch(self, prepared)", id="async batch",
        ),
        pytest.param(
            {"_post_process": later},
            "SomeWorker._post_process is async and _predict is not: "
            "write def _post_process(self, pred), or async def _predict", id="async answer",
        ),
        pytest.param(
            {"_predict": later, "_pre_process": items},
            "SomeWorker._pre_process is async and yields, but it has to return one value: "
            "take the yield out", id="async inputs that are yielded",
        ),
        pytest.param(
            {"_predict": later, "_load_shared": classmethod(later)},
            "SomeWorker._load_shared is async, and nobody would await it: "
            "write def _load_shared(cls, config_data)", id="async shared",
        ),
        pytest.param(
            {"_load_shared": lambda self, config_data: 1},
            "SomeWorker._load_shared has to be a class method, it runs before there is a worker: "
            "write @classmethod above def _load_shared(cls, config_data)", id="shared of a worker",
        ),
        pytest.param(
            {"_load_shared": classmethod(lambda cls: 1)},
            "SomeWorker._load_shared has to be a class method, it runs before there is a worker: "
            "write @classmethod above def _load_shared(cls, config_data)", id="shared of nothing",
        ),
        pytest.param(
            {"__init__": lambda self: None},
            "SomeWorker.__init__ has to take what the engine gives it and pass it on: "
            "def __init__(self, **kwargs): super().__init__(**kwargs)", id="__init__",
        ),
    ],
)  # fmt: skip
def test_hook_that_cannot_be_called_is_said_with_what_to_write(
    members: dict[str, Any], problem: str
) -> None:
    """At the load, for the server and for the author's own test."""
    assert problem == hook_problem(worker_class(**members))
    with pytest.raises(EndpointLoadError) as caught:
        WorkerHarness(worker_class(**members))
    assert (problem, True) == (str(caught.value), caught.value.is_permanent)
