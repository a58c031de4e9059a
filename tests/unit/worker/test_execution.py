"""Unit tests of running requests through an endpoint's hooks, whatever these return or raise."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from basic_inference_server.core.errors import (
    BadInput,
    DeadlineExceeded,
    EndpointError,
    ServiceError,
)
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.execution import (
    MAX_REASON,
    Executor,
    PhaseTimes,
    describe,
    effective_config,
    load_worker,
)
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError

METADATA = {"ver": "2.3.2", "ver_lib": "1.0"}
Hook = Callable[[Any], Any]


class Unprintable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class HookedWorker(FlaskWorker):
    """An endpoint whose hooks a test chooses; what each one got is kept."""

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(context=context)
        self.got: list[Any] = []
        self.pre: Hook = lambda inputs: inputs
        self.predict: Hook = lambda prepared: prepared
        self.post: Hook = lambda predicted: predicted

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        self.got.append(inputs)
        return self.pre(inputs)

    def _predict(self, prep_inputs: Any) -> Any:
        self.got.append(prep_inputs)
        return self.predict(prep_inputs)

    def _post_process(self, pred: Any) -> Any:
        self.got.append(pred)
        return self.post(pred)


@pytest.fixture
def worker() -> HookedWorker:
    return HookedWorker(context=WorkerContext(signature="demo", worker_id=3))


@pytest.fixture
def executor(worker: HookedWorker) -> Executor:
    return Executor(worker, METADATA)


def execute(executor: Executor, inputs: dict[str, Any] | None = None) -> Any:
    with executor.request("id-1"):
        return executor.execute(inputs or {}, PhaseTimes())


def raising(error: BaseException) -> Hook:
    def hook(_value: Any) -> Any:
        raise error

    return hook


@pytest.mark.parametrize("value", [0, [], None, "", {}, False, float("nan")], ids=repr)
def test_falsy_value_between_hooks_is_a_value(
    executor: Executor, worker: HookedWorker, value: Any
) -> None:
    """Nothing that a hook returns is taken for a failure, and the next one gets it as it is."""
    inputs = {"a": 1}
    worker.pre = worker.predict = worker.post = lambda _: value
    assert value is execute(executor, inputs)
    assert [inputs, value, value] == worker.got


def test_call_has_a_number_and_its_request_while_it_runs(
    executor: Executor, worker: HookedWorker
) -> None:
    """Hooks can read which call they are in; afterwards they are in none."""
    worker.predict = lambda _: (worker.call_id, worker.request_id)
    assert [(1, "id-1"), (2, "id-1")] == [execute(executor), execute(executor)]
    assert "" == worker.request_id
    worker.predict = raising(ValueError())
    with pytest.raises(EndpointError):
        execute(executor)
    assert (0, "") == (worker.call_id, worker.request_id)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(ValueError("INPUT_VALUE should be set"), "INPUT_VALUE should be set",
                     id="value"),
        pytest.param(TypeError("not a list"), "not a list", id="type"),
        pytest.param(KeyError("INPUT_VALUE"), "'INPUT_VALUE' is missing", id="key"),
        pytest.param(KeyError(5), "5 is missing", id="key that is a number"),
        pytest.param(KeyError(), "KeyError", id="key without a name"),
        pytest.param(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
                     "'utf-8' codec can't decode byte 0xff in position 0: bad", id="subclass"),
    ],
)  # fmt: skip
def test_complaint_of_pre_process_is_bad_input(
    executor: Executor, worker: HookedWorker, error: Exception, reason: str
) -> None:
    """The caller is told what is wrong with its fields, and nothing was predicted."""
    worker.pre = raising(error)
    with pytest.raises(BadInput) as caught:
        execute(executor)
    assert f"demo refused the inputs: {reason}" == caught.value.message
    assert error is caught.value.__cause__
    assert 1 == len(worker.got)


@pytest.mark.parametrize("hook", ["predict", "post"])
@pytest.mark.parametrize(
    "error", [ValueError("x"), TypeError("x"), KeyError("x")], ids=["value", "type", "key"]
)
def test_same_complaint_of_a_later_hook_is_the_endpoints_fault(
    executor: Executor, worker: HookedWorker, hook: str, error: Exception
) -> None:
    """Once the inputs were taken, a failure is not the caller's."""
    setattr(worker, hook, raising(error))
    with pytest.raises(EndpointError) as caught:
        execute(executor)
    assert f"demo failed: {type(error).__name__}: {error}" == caught.value.message


@pytest.mark.parametrize("hook", ["pre", "predict", "post"])
@pytest.mark.parametrize(
    ("error", "shown"),
    [
        pytest.param(RuntimeError("no memory"), "RuntimeError: no memory", id="ordinary"),
        pytest.param(RuntimeError(), "RuntimeError", id="without a text"),
        pytest.param(AttributeError("x"), "AttributeError: x", id="attribute"),
        pytest.param(MemoryError(), "MemoryError", id="memory"),
        pytest.param(RecursionError("too deep"), "RecursionError: too deep", id="recursion"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="exit"),
        pytest.param(KeyboardInterrupt(), "KeyboardInterrupt", id="interrupt"),
        pytest.param(GeneratorExit(), "GeneratorExit", id="generator exit"),
        pytest.param(AssertionError(), "AssertionError", id="assertion"),
        pytest.param(StopIteration(1), "StopIteration: 1", id="stop iteration"),
    ],
)
def test_whatever_a_hook_raises_is_contained(
    executor: Executor, worker: HookedWorker, hook: str, error: BaseException, shown: str
) -> None:
    """Nothing that endpoint code raises ends the worker; class and message are shown."""
    setattr(worker, hook, raising(error))
    with pytest.raises(EndpointError) as caught:
        execute(executor)
    assert f"demo failed: {shown}" == caught.value.message
    assert error is caught.value.__cause__


@pytest.mark.parametrize("hook", ["pre", "predict", "post"])
def test_exception_that_cannot_be_shown_is_contained(
    executor: Executor, worker: HookedWorker, hook: str
) -> None:
    """An exception whose own text raises does not get past the last line of defence."""
    setattr(worker, hook, raising(Unprintable()))
    with pytest.raises(EndpointError, match="Unprintable"):
        execute(executor)


def test_service_error_of_an_endpoint_keeps_its_status(
    executor: Executor, worker: HookedWorker
) -> None:
    """What already is an answer is passed on as it is."""
    error = BadInput("no such language", available=["ro"])
    worker.predict = raising(error)
    with pytest.raises(ServiceError) as caught:
        execute(executor)
    assert error is caught.value


@pytest.mark.parametrize("hook", ["pre", "predict"])
def test_message_is_bounded(executor: Executor, worker: HookedWorker, hook: str) -> None:
    """An exception that carries the whole input does not send it back."""
    setattr(worker, hook, raising(ValueError("x" * 1_000_000)))
    with pytest.raises(ServiceError) as caught:
        execute(executor)
    assert len(caught.value.message) <= MAX_REASON + 100


@pytest.mark.parametrize(
    ("hook", "measured"),
    [("pre", (0, 0, 0)), ("predict", (1, 0, 0)), ("post", (1, 1, 0)), ("none", (1, 1, 1))],
)
def test_phases_are_timed_as_far_as_they_got(
    executor: Executor, worker: HookedWorker, hook: str, measured: tuple[int, int, int]
) -> None:
    """A failed request says where it spent its time."""

    def busy(value: Any) -> Any:
        return sum(range(20_000)) and value

    worker.pre = worker.predict = worker.post = busy
    if hook != "none":
        setattr(worker, hook, raising(RuntimeError()))
    times = PhaseTimes()
    try:
        executor.execute({}, times)
    except EndpointError:
        assert hook != "none"
    found = (times.pre_us, times.predict_us, times.post_us)
    assert measured == tuple(int(value > 0) for value in found)


def test_answer_has_the_endpoints_fields_and_the_metadata(executor: Executor) -> None:
    """The result's own fields come first and at the top level."""
    with executor.request("id-1"):
        answer = executor.answer({"label": "cat"})
    assert "label" == next(iter(answer))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", answer.pop("time"))
    assert {
        "label": "cat", "call_id": 1, "ver": "2.3.2", "ver_lib": "1.0", "signature": "demo",
        "worker_id": 3,
    } == answer  # fmt: skip


def test_metadata_never_replaces_a_field_of_the_endpoint(executor: Executor) -> None:
    """An endpoint that sets a field of that name itself has the last word, even with `None`."""
    own: dict[str, Any] = {
        "time": 1, "ver": None, "ver_lib": "", "signature": [], "worker_id": "x", "call_id": 0,
    }  # fmt: skip
    assert own == executor.answer(own)


@pytest.mark.parametrize("result", [5, None, "x", [1, 2], (1,), b"x", {1, 2}], ids=repr)
def test_result_that_is_no_dict_is_data(executor: Executor, result: Any) -> None:
    """Any other result comes under one name."""
    assert result is executor.answer(result)["data"]


def test_result_itself_is_not_changed(executor: Executor) -> None:
    """An endpoint may return the same dict each time."""
    result = {"a": 1}
    executor.answer(result)
    assert {"a": 1} == result


@pytest.mark.parametrize(
    ("error", "is_permanent"),
    [
        pytest.param(ModuleNotFoundError("No module named 'x'"), True, id="missing module"),
        pytest.param(NameError("x"), True, id="missing name"),
        pytest.param(AttributeError("x"), True, id="missing attribute"),
        pytest.param(TypeError("x"), True, id="wrong call"),
        pytest.param(OSError("disk"), False, id="disk"),
        pytest.param(MemoryError(), False, id="memory"),
        pytest.param(ValueError("x"), False, id="value"),
        pytest.param(SystemExit(1), False, id="exit"),
        pytest.param(KeyboardInterrupt(), False, id="interrupt"),
    ],
)
def test_load_error_says_whether_trying_again_can_help(
    error: BaseException, is_permanent: bool
) -> None:
    """A missing module stays missing, while a busy disk may answer next time."""

    class FailingWorker(FlaskWorker):
        def _load_model(self) -> None:
            raise error

    with pytest.raises(EndpointLoadError) as caught:
        load_worker(FailingWorker, WorkerContext())
    assert f"FailingWorker could not load: {describe(error)}" == str(caught.value)
    assert is_permanent is caught.value.is_permanent
    assert error is caught.value.__cause__


def test_constructor_that_raises_is_a_load_error() -> None:
    """A constructor that forgets the engine's argument is named, not a crash."""

    class NoContextWorker(FlaskWorker):
        def __init__(self) -> None:
            pass

    with pytest.raises(EndpointLoadError, match="NoContextWorker could not load: TypeError"):
        load_worker(NoContextWorker, WorkerContext())


def test_endpoints_own_load_error_is_passed_on() -> None:
    """An endpoint may say itself that trying again helps."""
    error = EndpointLoadError("the model store is down", is_permanent=False)

    class FailingWorker(FlaskWorker):
        def _load_model(self) -> None:
            raise error

    with pytest.raises(EndpointLoadError) as caught:
        load_worker(FailingWorker, WorkerContext())
    assert error is caught.value


def test_section_is_laid_over_the_default_configuration() -> None:
    """The operator's value wins, key by key; neither of the two is changed."""
    default, section = {"A": 1, "B": {"x": 1}}, {"B": {"y": 2}, "C": 3}
    assert {"A": 1, "B": {"y": 2}, "C": 3} == effective_config(default, section)
    assert {"A": 1, "B": {"x": 1}} == default


def test_section_that_breaks_a_rule_is_refused() -> None:
    """Rules of the module hold for the operator's values."""
    default = {"WEIGHT": 0.5, "VALIDATION_RULES": {"WEIGHT": {"MAX_VAL": 1}}}
    with pytest.raises(EndpointLoadError, match="WEIGHT is 2, which breaks MAX_VAL 1"):
        effective_config(default, {"WEIGHT": 2})


class TaskGroupError(Exception):
    """What several tasks have raised, as `asyncio.TaskGroup` gives it from Python 3.11 on."""

    def __init__(self, *exceptions: Exception) -> None:
        super().__init__("unhandled errors in a TaskGroup")
        self.exceptions = exceptions


def late(*, is_at_deadline: bool) -> CallError:
    error = CallError("other", 504, "deadline_exceeded", "no answer yet")
    error.is_at_deadline = is_at_deadline
    return error


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        pytest.param(late(is_at_deadline=True), DeadlineExceeded, id="the request's deadline"),
        pytest.param(late(is_at_deadline=False), EndpointError, id="the other's own, shorter time"),
        pytest.param(TaskGroupError(late(is_at_deadline=True)), DeadlineExceeded, id="in a group"),
        pytest.param(
            TaskGroupError(late(is_at_deadline=True), ValueError()), EndpointError, id="and another"
        ),
        pytest.param(TaskGroupError(), EndpointError, id="empty group"),
    ],
)
def test_call_that_meets_the_requests_deadline_is_its_deadline(
    worker: HookedWorker, raised: Exception, expected: type[ServiceError]
) -> None:
    """504, and not the endpoint's fault; a call that was late by itself is."""

    def calls(_: Any) -> Any:
        raise raised

    worker.predict = calls
    with pytest.raises(expected, match="demo"):
        Executor(worker, METADATA).execute({}, PhaseTimes())
