"""Loads an endpoint and runs requests through its hooks.

The one place that calls endpoint code. Whatever that code raises, even `SystemExit`, becomes a
`ServiceError` here and never ends the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from basic_inference_server.core.clock import local_time_text, monotonic_ns
from basic_inference_server.core.errors import BadInput, EndpointError, ServiceError
from basic_inference_server.worker.base64_fields import (
    decode_inputs,
    encode_outputs,
    uses_base64,
)
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.validation_rules import check_rules

MAX_REASON = 2000


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


def load_worker(worker_class: type[FlaskWorker], context: WorkerContext) -> FlaskWorker:
    """Construct the worker and let it load its model.

    Raises:
        EndpointLoadError: what the constructor or `_load_model` raised; worth another try, except
            for a missing module, a wrong signature or the like.
    """
    try:
        worker = worker_class(context=context)
        worker._load_model()  # noqa: SLF001 - the engine calls the author's hooks
    except EndpointLoadError:
        raise
    except BaseException as error:
        is_permanent = isinstance(error, (ImportError, NameError, AttributeError, TypeError))
        raise EndpointLoadError(
            f"{worker_class.__name__} could not load: {describe(error)}", is_permanent=is_permanent
        ) from error
    return worker


def describe(error: BaseException) -> str:
    """Return class and message of an exception, bounded, without a traceback."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception of the endpoint's own may do anything
        message = "its message cannot be shown"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= MAX_REASON else text[:MAX_REASON] + " [...]"


@dataclass
class PhaseTimes:
    """Durations of one request's phases in microseconds."""

    pre_us: int = 0
    predict_us: int = 0
    post_us: int = 0


class Executor:
    """Runs one request at a time through a loaded worker."""

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
        self._before_end = before_end
        self._metadata = {
            **metadata,
            "signature": worker.signature,
            "worker_id": worker.worker_id,
        }

    def execute(self, inputs: dict[str, Any], request_id: str, times: PhaseTimes) -> Any:
        """Return the endpoint's result; fill in `times` as far as it got.

        Raises:
            BadInput: `_pre_process` raised `ValueError`, `TypeError` or `KeyError`, or a base64
                field cannot be decoded.
            EndpointError: a hook raised anything else.
        """
        worker = self.worker
        worker.call_id += 1
        worker.request_id = request_id
        try:
            if uses_base64(inputs):
                result = self._run_hooks(worker, decode_inputs(inputs), times)
                return encode_outputs(inputs, result)
            return self._run_hooks(worker, inputs, times)
        except ServiceError:
            raise
        except BaseException as error:
            raise EndpointError(f"{worker.signature} failed: {describe(error)}") from error
        finally:
            self._before_end()
            worker.request_id = ""

    @staticmethod
    def _run_hooks(worker: FlaskWorker, inputs: dict[str, Any], times: PhaseTimes) -> Any:
        started = monotonic_ns()
        try:
            prepared = worker._pre_process(inputs)  # noqa: SLF001
        except (ValueError, TypeError, KeyError) as error:
            message = f"{worker.signature} refused the inputs: {_reason(error)}"
            raise BadInput(message[:MAX_REASON]) from error
        pre_done = monotonic_ns()
        times.pre_us = (pre_done - started) // 1000
        predicted = worker._predict(prepared)  # noqa: SLF001
        predict_done = monotonic_ns()
        times.predict_us = (predict_done - pre_done) // 1000
        result = worker._post_process(predicted)  # noqa: SLF001
        times.post_us = (monotonic_ns() - predict_done) // 1000
        return result

    def answer(self, result: Any) -> dict[str, Any]:
        """Return the flat answer: the endpoint's fields, and metadata where it set none."""
        answer = {**result} if isinstance(result, dict) else {"data": result}
        answer.setdefault("time", local_time_text())
        answer.setdefault("call_id", self.worker.call_id)
        for name, value in self._metadata.items():
            answer.setdefault(name, value)
        return answer


def _reason(error: Exception) -> str:
    """Return why inputs were refused; of a plain error only its message."""
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f"{error.args[0]!r} is missing"
    name = type(error).__name__
    return describe(error).removeprefix(f"{name}: ") or name
