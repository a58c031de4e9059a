"""Loads an endpoint and runs requests through its hooks.

The one place that calls endpoint code. Whatever that code raises, even `SystemExit`, becomes a
`ServiceError` here and never ends the worker.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutine
from itertools import count
from pathlib import Path
from typing import Any

from basic_inference_server.core.clock import local_time_text, monotonic_ns
from basic_inference_server.core.errors import (
    BadInput,
    DeadlineExceeded,
    EndpointError,
    ServiceError,
)
from basic_inference_server.core.showing import text_of
from basic_inference_server.worker.base64_fields import (
    decode_inputs,
    encode_outputs,
    uses_base64,
)
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.current_request import (
    CurrentRequest,
    Executing,
    current_request,
)
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError, import_hint
from basic_inference_server.worker.own_process import own_process
from basic_inference_server.worker.schemas import input_reader, output_writer
from basic_inference_server.worker.status_answers import check_gives_no_status
from basic_inference_server.worker.streams import ItemStream, is_stream
from basic_inference_server.worker.validation_rules import check_rules

MAX_REASON = 2000
NO_DEBUGGER = (
    "a worker has no terminal for a debugger such as breakpoint(); run the endpoint in a test with "
    "basic_inference_server.testing.run_worker and pytest -s, where breakpoint() stops"
)


def effective_config(
    default_config: Mapping[str, Any], section: Mapping[str, Any]
) -> dict[str, Any]:
    """Lay the endpoint's section over its `_CONFIG` and enforce `VALIDATION_RULES`.

    Raises:
        EndpointLoadError: a rule is broken.
    """
    config = {**default_config, **section}
    check_rules(config)
    return config


def load_shared(worker_class: type[FlaskWorker], config: dict[str, Any]) -> Any:
    """Return what the workers of an endpoint share.

    Raises:
        EndpointLoadError: what `_load_shared` raised; as for `load_worker`.
    """
    try:
        return worker_class._load_shared(config)  # noqa: SLF001 - the engine calls authors' hooks
    except BaseException as error:
        raise _load_failure(worker_class, error) from error


def load_worker(
    worker_class: type[FlaskWorker],
    context: WorkerContext,
    run: Callable[[Any], Any] = lambda loaded: loaded,
) -> FlaskWorker:
    """Construct the worker and let it load its model.

    Args:
        worker_class: the endpoint's class.
        context: what the engine gives the worker.
        run: runs a coroutine to its end, for a `_load_model` that is one.

    Raises:
        EndpointLoadError: what the constructor or `_load_model` raised; worth another try, except
            for a missing module, a wrong signature or the like.
    """
    try:
        worker = worker_class(context=context)
        _check_constructed(worker)
        input_reader(worker)  # says now, and not under the first request, what is wrong with
        output_writer(worker)  # INPUT and OUTPUT
        loading = worker._load_model()  # noqa: SLF001 - the engine calls the author's hooks
        if iscoroutine(loading):  # of an endpoint on an event loop
            run(loading)
    except EndpointLoadError:
        raise
    except BaseException as error:
        raise _load_failure(worker_class, error) from error
    return worker


def _check_constructed(worker: FlaskWorker) -> None:
    if "context" not in vars(worker):
        raise EndpointLoadError(
            f"{type(worker).__name__}.__init__ has to begin with super().__init__(**kwargs)"
        )


def _load_failure(worker_class: type[FlaskWorker], error: BaseException) -> EndpointLoadError:
    is_permanent = isinstance(error, (ImportError, NameError, AttributeError, TypeError))
    file = getattr(sys.modules.get(worker_class.__module__), "__file__", None)
    hint = import_hint(error, Path(file).parent if file else None)
    return EndpointLoadError(
        f"{worker_class.__name__} could not load: {describe(error)}{hint}",
        is_permanent=is_permanent,
    )


def describe(error: BaseException) -> str:
    """Return class and message of an exception, bounded, without a traceback."""
    message = text_of(error, "its message cannot be shown")
    if type(error).__name__ == "BdbQuit":  # of breakpoint(), where there is nothing to read
        message = NO_DEBUGGER
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= MAX_REASON else text[:MAX_REASON] + " [...]"


@dataclass
class PhaseTimes:
    """Durations of one request's phases in microseconds."""

    pre_us: int = 0
    predict_us: int = 0
    post_us: int = 0


class Executor:
    """Runs requests through a loaded worker."""

    def __init__(
        self,
        worker: FlaskWorker,
        metadata: Mapping[str, Any],
        before_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the worker and the answer's constant metadata (`ver`, `ver_lib`, …).

        `before_end` is called at the end of each request, while its id is still known.
        """
        self.worker = worker
        self._calls = count(1)
        self._before_end = before_end
        self._read_inputs = input_reader(worker)
        self._check_result = output_writer(worker)
        self._metadata = {
            **metadata,
            "signature": worker.signature,
            "worker_id": worker.worker_id,
        }

    def request(self, request_id: str, deadline_ns: int = 0, depth: int = 0) -> Executing:
        """Have what the hooks log, record and call in a `with` block belong to a new request."""
        request = CurrentRequest(request_id, next(self._calls), deadline_ns, depth)
        return Executing(request, self._before_end)

    def begin(self, request_id: str, deadline_ns: int = 0, depth: int = 0) -> CurrentRequest:
        """Count a new request and return it."""
        return CurrentRequest(request_id, next(self._calls), deadline_ns, depth)

    def resumed(self, request: CurrentRequest) -> Executing:
        """Have what is done in a `with` block belong to a request that was begun before."""
        return Executing(request, self._before_end)

    def execute(self, inputs: dict[str, Any], times: PhaseTimes) -> Any:
        """Return the endpoint's result for the current request; fill in `times` as far as it got.

        The result of an endpoint that streams is an `ItemStream`; what an item raises is what this
        raises.

        Raises:
            BadInput: `_pre_process` raised `ValueError`, `TypeError` or `KeyError`, or a base64
                field cannot be decoded.
            EndpointError: a hook raised anything else.
            DeadlineExceeded: it waited for a call until the request's own deadline.
        """
        try:
            prepared = self.pre_process(inputs, times)
            predicted = self._predict(prepared, times)
            return self.post_process(inputs, predicted, times)
        except ServiceError:
            raise
        except BaseException as error:
            raise self.failure(error) from error

    def failure(self, error: BaseException) -> ServiceError:
        """Return what a client is told of an exception of the endpoint's, which is its cause."""
        own_process.end_child(error)
        name, reason = self.worker.signature, describe(error)
        failure: ServiceError = (
            DeadlineExceeded(f"{name} had no answer in time: {reason}.")
            if _is_at_deadline(error)
            else EndpointError(f"{name} failed: {reason}")
        )
        failure.__cause__ = error
        return failure

    def _predict(self, prepared: Any, times: PhaseTimes) -> Any:
        started_ns = monotonic_ns()
        try:
            predicted = self.worker._predict(prepared)  # noqa: SLF001 - authors' hooks
        except (TypeError, AttributeError) as error:
            self._explain_slip(error, prepared)
            raise
        times.predict_us = (monotonic_ns() - started_ns) // 1000
        return predicted

    def _explain_slip(self, error: Exception, prepared: Any) -> None:
        """Say so when `_pre_process` is without `return`, the usual slip.

        Raises:
            EndpointError: it is.
        """
        if prepared is None and "NoneType" in describe(error):
            raise EndpointError(
                f"{self.worker.signature} failed: {describe(error)}; "
                f"{type(self.worker).__name__}._pre_process returned None"
            ) from error

    def refusal(self, error: Exception) -> BadInput:
        """Return what a client is told of an exception with which the inputs were refused."""
        message = f"{self.worker.signature} refused the inputs: {_reason(error)}"
        return BadInput(message[:MAX_REASON])

    def pre_process(self, inputs: dict[str, Any], times: PhaseTimes) -> Any:
        """Return what the endpoint makes of the inputs before it predicts.

        Raises:
            BadInput: see `execute`.
        """
        started_ns = monotonic_ns()
        if uses_base64(inputs):
            inputs = decode_inputs(inputs)
        if self._read_inputs is not None:
            inputs = self._read_inputs(inputs)
        try:
            prepared = self.worker._pre_process(inputs)  # noqa: SLF001
        except (ValueError, TypeError, KeyError) as error:
            raise self.refusal(error) from error
        times.pre_us = (monotonic_ns() - started_ns) // 1000
        return prepared

    def post_process(self, inputs: dict[str, Any], predicted: Any, times: PhaseTimes) -> Any:
        """Return what the endpoint makes of its prediction; of a generator, of each item."""
        if is_stream(predicted):
            return ItemStream(predicted, lambda item: self._finished(inputs, item), self.failure)
        started_ns = monotonic_ns()
        result = self.worker._post_process(predicted)  # noqa: SLF001
        if is_stream(result):
            return ItemStream(result, lambda item: self._checked(inputs, item), self.failure)
        result = self._whole(inputs, result)
        times.post_us = (monotonic_ns() - started_ns) // 1000
        return result

    def _finished(self, inputs: dict[str, Any], item: Any) -> Any:
        return self._checked(inputs, self.worker._post_process(item))  # noqa: SLF001

    def _whole(self, inputs: dict[str, Any], result: Any) -> Any:
        if type(result) is tuple:
            check_gives_no_status(result, self.worker.signature)
        return self._checked(inputs, result)

    def _checked(self, inputs: dict[str, Any], result: Any) -> Any:
        if self._check_result is not None:
            result = self._check_result(result)
        return encode_outputs(inputs, result) if uses_base64(inputs) else result

    def answer(self, result: Any) -> dict[str, Any]:
        """Return the flat answer: the endpoint's fields, and metadata where it set none."""
        answer = {**result} if isinstance(result, dict) else {"data": result}
        answer.setdefault("time", local_time_text())
        answer.setdefault("call_id", current_request().call_id)
        for name, value in self._metadata.items():
            answer.setdefault(name, value)
        return answer


def _is_at_deadline(error: BaseException) -> bool:
    """Say whether calls that were waited for until the request's own deadline are all there is."""
    if isinstance(error, CallError):
        return error.is_at_deadline
    group: Any = getattr(error, "exceptions", ())  # of a task group
    return isinstance(group, tuple) and bool(group) and all(map(_is_at_deadline, group))


def _reason(error: Exception) -> str:
    """Return why inputs were refused; of a plain error only its message."""
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f"{error.args[0]!r} is missing"
    name = type(error).__name__
    return describe(error).removeprefix(f"{name}: ") or name
