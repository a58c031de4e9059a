"""For an endpoint author's own tests: one loaded worker in this process.

Part of `basic_inference_server.testing`, from where it is imported.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.serving.received import as_received
from basic_inference_server.worker.async_execution import AsyncExecutor
from basic_inference_server.worker.async_hooks import is_async, no_batches
from basic_inference_server.worker.async_streams import AsyncItemStream
from basic_inference_server.worker.batch_execution import BatchExecutor, Item
from basic_inference_server.worker.binary import Binary
from basic_inference_server.worker.execution import (
    PhaseTimes,
    describe,
    effective_config,
    load_shared,
    load_worker,
)
from basic_inference_server.worker.flask_worker import FlaskWorker, Notification, WorkerContext
from basic_inference_server.worker.hook_shapes import hook_problem, overrides
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.streams import ItemStream
from basic_inference_server.worker.whole_execution import whole_execution


class WorkerHarness:
    """One loaded worker in this process, with everything it says kept for assertions.

    Attributes:
        notifications: what `_create_notification` recorded.
        events: what was logged.

    Raises:
        EndpointLoadError: the worker cannot be loaded.
    """

    def __init__(
        self,
        worker_class: type[FlaskWorker],
        config: Mapping[str, Any] | None = None,
        signature: str = "test",
    ) -> None:
        self.notifications: list[Notification] = []
        self.events: list[Event] = []
        problem = hook_problem(worker_class)
        if problem:
            raise EndpointLoadError(problem)
        module = sys.modules[worker_class.__module__]
        config_data = effective_config(getattr(module, "_CONFIG", {}), config or {})
        self._log = EventLog(self.events.append, "debug")
        context = WorkerContext(
            signature=signature,
            config_data=config_data,
            shared=load_shared(worker_class, config_data),
            log=Logger(log=self._log),
            notify=self.notifications.append,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.worker = load_worker(worker_class, context, self._run)
        self._executor, self._execute = whole_execution(self.worker, self._run)

    def _run(self, coroutine: Any) -> Any:
        """Run a coroutine of the worker's to its end, always on the same loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close)
        return self._loop.run_until_complete(coroutine)

    def run(self, inputs: dict[str, Any], request_id: str = "test-request") -> Any:
        """Return the endpoint's result for one request; of one that streams, a list of its items.

        It is what a client reads: written as JSON and read again.

        Raises:
            TypeError: the result cannot be written as JSON.
            Exception: what the endpoint raised, unchanged.
        """
        with _unwrapped_errors(), self._executor.request(request_id):
            return as_received(self._execute(inputs))

    def stream(self, inputs: dict[str, Any], request_id: str = "test-request") -> Iterator[Any]:
        """Yield the items of one streamed answer as the endpoint makes them.

        Closing the iterator does what a caller does who leaves.

        Raises:
            TypeError: the endpoint does not stream.
            Exception: what the endpoint raised, unchanged.
        """
        if is_async(type(self.worker)):
            yield from self._stream_async(inputs, request_id)
            return
        with _unwrapped_errors(), self._executor.request(request_id):
            items = self._executor.execute(inputs, PhaseTimes())
            if not isinstance(items, ItemStream):
                raise TypeError(f"{type(self.worker).__name__} returned {type(items).__name__}")
            with closing(items):
                yield from map(as_received, items)

    def _stream_async(self, inputs: dict[str, Any], request_id: str) -> Iterator[Any]:
        executor = cast("AsyncExecutor", self._executor)
        with _unwrapped_errors(), executor.request(request_id):
            items = self._run(executor.execute_async(inputs, PhaseTimes()))
            if not isinstance(items, AsyncItemStream):
                raise TypeError(f"{type(self.worker).__name__} returned {type(items).__name__}")
            try:
                while True:
                    yield as_received(self._run(anext(items)))
            except StopAsyncIteration:
                return
            finally:
                self._run(items.aclose())

    def run_batch(self, many_inputs: Sequence[dict[str, Any]]) -> list[Any]:
        """Return for each of several requests its result, or the exception that it ended with.

        They are one batch, executed as a server with that `BATCH_SIZE` does it; `events` has a
        `batch_failed` when `_predict_batch` raised and was called again for each alone.

        Raises:
            EndpointLoadError: the endpoint has no `_predict_batch`.
        """
        name = type(self.worker).__name__
        if is_async(type(self.worker)):
            raise EndpointLoadError(no_batches(type(self.worker), len(many_inputs)))
        if not overrides(type(self.worker), "_predict_batch"):
            raise EndpointLoadError(
                f"a batch needs a method _predict_batch(self, prepared) of {name} that returns a "
                "list of results"
            )
        items = [
            Item(inputs, self._executor.begin(f"test-{number}"))
            for number, inputs in enumerate(many_inputs)
        ]
        BatchExecutor(self._executor, self._say_failed_batch).execute(items)
        return [_outcome(item) for item in items]

    def _say_failed_batch(self, error: BaseException) -> None:
        self._log.warning("batch_failed", error=describe(error))


def _outcome(item: Item) -> Any:
    if item.error is not None:
        return item.error.__cause__ or item.error
    try:
        return as_received(item.result)
    except Exception as error:  # noqa: BLE001 - an outcome of this request alone
        return error


@contextmanager
def _unwrapped_errors() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def run_worker(
    worker_class: type[FlaskWorker],
    inputs: dict[str, Any],
    config: Mapping[str, Any] | None = None,
) -> Any:
    """Load a worker class and return its answer to `inputs`; raises what the endpoint raises.

    The answer is a dict as a client gets it, without the metadata: a result that is not a dict
    comes as `{"data": result}`, the items of a stream too, and a `Binary` as it is.
    """
    return _answer(WorkerHarness(worker_class, config).run(inputs))


def run_worker_batch(
    worker_class: type[FlaskWorker],
    many_inputs: Sequence[dict[str, Any]],
    config: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Load a worker class and return its answers to one batch of requests.

    In the place of an answer is the exception that the request ended with.
    """
    return [
        _answer(outcome) for outcome in WorkerHarness(worker_class, config).run_batch(many_inputs)
    ]


def _answer(result: Any) -> Any:
    return result if isinstance(result, (dict, Binary, BaseException)) else {"data": result}
