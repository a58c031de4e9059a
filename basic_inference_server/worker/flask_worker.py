"""`FlaskWorker`: what an endpoint author subclasses.

Knows no HTTP, no sockets and no processes. An instance serves one request at a time, so endpoint
code needs no locks, unless `THREADS` says otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from basic_inference_server.core.clock import local_time_text
from basic_inference_server.core.logger import Logger
from basic_inference_server.worker.batch_results import results_of_batch
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.current_request import current_request

Notification = dict[str, Any]
Call = Callable[[Sequence[tuple[str, dict[str, Any]]]], list[Any]]
AsyncCall = Callable[[Sequence[tuple[str, dict[str, Any]]]], Awaitable[list[Any]]]


def _discard(notification: Notification) -> None:
    del notification


def _no_calls(requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [
        CallError(signature, 503, "not_ready", "there is no gateway here")
        for signature, _ in requests
    ]


async def _no_async_calls(requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    return _no_calls(requests)


@dataclass
class WorkerContext:
    """Everything the engine gives a worker.

    Attributes:
        signature: the name under which the endpoint is reached.
        config_data: the module's `_CONFIG` with the endpoint's section laid over it.
        log: where `P` writes.
        worker_id: number of this worker within its server, from 0.
        notify: takes each notification.
        call: calls other endpoints; returns for each an answer or a `CallError`.
        shared: what `_load_shared` has returned.
        acall: the same as `call`, for an endpoint on an event loop.
    """

    signature: str = "test"
    config_data: Mapping[str, Any] = field(default_factory=dict)
    log: Logger = field(default_factory=Logger)
    worker_id: int = 0
    notify: Callable[[Notification], None] = _discard
    call: Call = _no_calls
    shared: Any = None
    acall: AsyncCall = _no_async_calls


class FlaskWorker:
    """Base class of every endpoint.

    Override `_predict`, and `_load_model`, `_pre_process`, `_post_process` where they are needed.
    Whatever a hook returns is handed to the next one; `0`, `[]` and `None` are values.
    A hook's argument may have any name, and any type that fits what it is called with.

    Attributes:
        INPUT: a pydantic model; `_pre_process` gets an instance of it then, and what does not fit
            is answered with 422 and a detail for each field.
        OUTPUT: a pydantic model that the result has to fit.
        config_data: the endpoint's configuration; each key is also `self.cfg_<key in lower case>`.
        log: the seeds' logger.
        signature: the name under which the endpoint is reached.
        worker_id: number of this worker within its server.
        call_id: number of the current call in this worker, from 1; 0 outside of one.
        request_id: id of the current request; empty outside of one.
        shared: what `_load_shared` has returned.
    """

    INPUT: ClassVar[type | None] = None
    OUTPUT: ClassVar[type | None] = None

    def __init__(self, context: WorkerContext, prefix_log: str = "") -> None:
        self.context = context
        self.prefix_log = prefix_log
        self.log = context.log
        self.signature = context.signature
        self.worker_id = context.worker_id
        self.shared = context.shared
        self.config_data = dict(context.config_data)
        for key, value in self.config_data.items():
            setattr(self, f"cfg_{key.lower()}", value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cfg_"):
            key = name[len("cfg_") :].upper()
            raise AttributeError(f"{key} is neither in _CONFIG nor in the endpoint's section")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def call_id(self) -> int:
        """Number of the current call in this worker, from 1."""
        return current_request().call_id

    @property
    def request_id(self) -> str:
        """Id of the current request."""
        return current_request().request_id

    @classmethod
    def _load_shared(cls, config_data: dict[str, Any], /) -> Any:
        """Load what all workers of the server share; runs once, before they are forked.

        Has to stand in the endpoint's own file. What it returns is `self.shared` in each worker,
        in memory that they share as long as nobody writes to it. It must not start threads, nor
        open what a forked process cannot use, such as a session of onnxruntime.

        Args:
            config_data: the endpoint's configuration.

        Raises:
            Exception: as in `_load_model`.
        """
        del config_data

    def _load_model(self) -> Awaitable[None] | None:
        """Load what `_predict` needs; runs once, before the worker takes requests.

        Raises:
            Exception: anything stops the load; the server shows it and tries again later.
        """

    def _pre_process(self, inputs: Any, /) -> Any:
        """Check the request's fields and return what `_predict` takes.

        Args:
            inputs: the request's fields; `SIGNATURE` in them is the endpoint's own.

        Raises:
            ValueError, TypeError, KeyError: the inputs are bad; answered with 422.
        """
        return inputs

    def _predict(self, prep_inputs: Any, /) -> Any:
        """Do the work. Every endpoint has to override this, or `_predict_batch`."""
        result = results_of_batch(self._predict_batch([prep_inputs]), 1, self.signature)[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def _predict_batch(self, prepared: list[Any], /) -> Any:
        """Do the work for several requests together; used when `BATCH_SIZE` is above 1.

        Args:
            prepared: what `_pre_process` returned for each of them, `BATCH_SIZE` at most.

        Returns:
            One result for each, in the same order, as a list, a tuple, a generator, an array, a
            tensor or a Series; an exception instance fails that one alone.

        Raises:
            Exception: each is tried again alone then, so that one bad request fails alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no _predict")

    def _post_process(self, pred: Any, /) -> Any:
        """Turn the prediction into the answer; a dict becomes the fields of the answer."""
        return pred

    def call(self, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return another endpoint's answer; within this request's deadline, under its id.

        Raises:
            CallError: it refused, failed, or did not answer in time.
        """
        answer: dict[str, Any] = self.call_many([(signature, inputs)])[0]
        return answer

    def call_many(
        self, requests: Sequence[tuple[str, dict[str, Any]]], *, return_errors: bool = False
    ) -> list[Any]:
        """Call several endpoints at the same time; return their answers in the same order.

        Args:
            requests: pairs of signature and inputs.
            return_errors: put a `CallError` in the place of an answer that did not come, instead
                of raising the first one.

        Raises:
            CallError: see `call`.
        """
        return _answers(self.context.call(requests), return_errors=return_errors)

    async def acall(self, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Do what `call` does; other requests of this worker go on meanwhile.

        Raises:
            CallError: see `call`.
        """
        answer: dict[str, Any] = (await self.acall_many([(signature, inputs)]))[0]
        return answer

    async def acall_many(
        self, requests: Sequence[tuple[str, dict[str, Any]]], *, return_errors: bool = False
    ) -> list[Any]:
        """Do what `call_many` does; other requests of this worker go on meanwhile.

        Raises:
            CallError: see `call`.
        """
        return _answers(await self.context.acall(requests), return_errors=return_errors)

    def P(self, text: Any, color: str | None = None, **_ignored: Any) -> None:
        """Write one message to the log, with the worker's prefix."""
        self.log.P(f"{self.prefix_log} {text}" if self.prefix_log else text, color=color)

    def _create_notification(self, notif: str, msg: Any, **fields: Any) -> None:
        """Record something that `/notifications` shows.

        Args:
            notif: its kind, such as `log`, `warning`, `error`.
            msg: the message.
            **fields: further JSON values.
        """
        notification: Notification = {
            "notif": notif,
            "msg": str(msg),
            "time": local_time_text(),
            "worker_id": self.worker_id,
            **fields,
        }
        if self.request_id:
            notification["call_id"] = self.call_id
            notification["request_id"] = self.request_id
        self.context.notify(notification)


def _answers(outcomes: list[Any], *, return_errors: bool) -> list[Any]:
    if not return_errors:
        for outcome in outcomes:
            if isinstance(outcome, CallError):
                raise outcome
    return outcomes
