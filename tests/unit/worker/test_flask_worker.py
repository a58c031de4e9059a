"""Unit tests of `FlaskWorker`: what an endpoint author sees of it."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

import basic_inference_server
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.worker.current_request import CurrentRequest, Executing
from basic_inference_server.worker.flask_worker import FlaskWorker, Notification, WorkerContext


class EchoWorker(FlaskWorker):
    def _predict(self, prep_inputs: Any) -> Any:
        return prep_inputs


def make(**fields: Any) -> EchoWorker:
    return EchoWorker(context=WorkerContext(**fields))


def test_package_exports_the_class_to_subclass() -> None:
    """Authors import it from the package's root."""
    assert FlaskWorker is basic_inference_server.FlaskWorker


def test_each_configuration_key_is_an_attribute() -> None:
    """A key is readable as `config_data[KEY]` and as `cfg_<key in lower case>`."""
    worker = make(config_data={"WEIGHT": 0.5, "TOP_K": 3, "Layers": [1]})
    assert {"WEIGHT": 0.5, "TOP_K": 3, "Layers": [1]} == worker.config_data
    assert (0.5, 3, [1]) == (worker.cfg_weight, worker.cfg_top_k, worker.cfg_layers)


def test_worker_has_a_configuration_of_its_own() -> None:
    """Changing it does not change what the engine holds."""
    config = {"WEIGHT": 1}
    worker = make(config_data=config)
    worker.config_data["WEIGHT"] = 2
    assert {"WEIGHT": 1} == config


def test_missing_configuration_key_is_named_as_the_author_writes_it() -> None:
    """The sentence says where the key could be put."""
    with pytest.raises(AttributeError) as caught:
        _ = make().cfg_top_k
    assert "TOP_K is neither in _CONFIG nor in the endpoint's section" == str(caught.value)


def test_missing_attribute_is_an_ordinary_attribute_error() -> None:
    """Anything else is Python's own complaint, so `hasattr` and copying work."""
    worker = make()
    with pytest.raises(AttributeError, match="'EchoWorker' object has no attribute 'model'"):
        _ = worker.model
    assert not hasattr(worker, "cfg_nothing")
    assert "echo" == copy.copy(make(signature="echo")).signature


def test_hooks_that_are_not_written_pass_values_on() -> None:
    """Only `_predict` has to be written."""
    worker = make()
    inputs = {"a": 1}
    worker._load_model()
    assert inputs is worker._post_process(worker._predict(worker._pre_process(inputs)))


def test_class_without_predict_says_so() -> None:
    """Calling the base class's own is an error that names the class."""
    with pytest.raises(NotImplementedError, match="FlaskWorker has no _predict"):
        FlaskWorker(context=WorkerContext())._predict(None)


@pytest.mark.parametrize(
    ("prefix", "expected"), [("", "hello"), ("[D1]", "[D1] hello")], ids=["none", "given"]
)
def test_p_writes_with_the_workers_prefix(prefix: str, expected: str) -> None:
    """What the seeds' endpoints log is labelled as they label it."""
    said: list[Event] = []
    context = WorkerContext(log=Logger(log=EventLog(said.append)))
    worker = EchoWorker(context=context, prefix_log=prefix)
    worker.P("hello", color="g", boxed=True)
    assert [(expected, "g")] == [(event["message"], event["color"]) for event in said]


def test_p_writes_any_object() -> None:
    """A number or a list needs no conversion."""
    said: list[Event] = []
    make(log=Logger(log=EventLog(said.append))).P([1, None])
    assert ["[1, None]"] == [event["message"] for event in said]


def test_notification_outside_a_call_is_general() -> None:
    """While it loads, a worker's notifications belong to no request."""
    kept: list[Notification] = []
    worker = make(notify=kept.append, worker_id=3)
    worker._create_notification(notif="warning", msg="model is old", age_days=400)
    (notification,) = kept
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", notification.pop("time"))
    assert {"notif": "warning", "msg": "model is old", "worker_id": 3, "age_days": 400} == (
        notification
    )


def test_notification_within_a_call_carries_the_request() -> None:
    """Who called can find what was said about the call."""
    kept: list[Notification] = []
    worker = make(notify=kept.append)
    with Executing(CurrentRequest("id-1", 7)):
        worker._create_notification("log", 5)
    assert ("5", 7, "id-1") == (kept[0]["msg"], kept[0]["call_id"], kept[0]["request_id"])


def test_notification_without_a_listener_is_dropped() -> None:
    """In an author's own test nobody has to listen: the answer comes all the same."""

    class TellingWorker(EchoWorker):
        def _predict(self, prep_inputs: Any) -> Any:
            self._create_notification("log", prep_inputs)
            return super()._predict(prep_inputs)

    assert "x" == TellingWorker(context=WorkerContext())._predict("x")
