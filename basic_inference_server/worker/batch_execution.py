"""Runs several requests through a loaded worker together: `_predict_batch`.

What is an item's own stays its own: its inputs are checked alone, its answer is made alone, its
error is its own. A batch that raises is run again item by item, so that one bad item fails alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.errors import EndpointError, ServiceError
from basic_inference_server.worker.batch_results import results_of_batch
from basic_inference_server.worker.current_request import CurrentRequest, Executing
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.streams import ItemStream


@dataclass
class Item:
    """One request of a batch; has a result or an error in the end."""

    inputs: dict[str, Any]
    request: CurrentRequest
    times: PhaseTimes = field(default_factory=PhaseTimes)
    prepared: Any = None
    result: Any = None
    error: ServiceError | None = None


class BatchExecutor:
    """Executes batches for one worker.

    Args:
        executor: what runs the hooks of a single request.
        on_failed_batch: told of an exception that a batch of several has raised.
    """

    def __init__(
        self, executor: Executor, on_failed_batch: Callable[[BaseException], None]
    ) -> None:
        self._executor = executor
        self._worker = executor.worker
        self._on_failed_batch = on_failed_batch

    def execute(self, items: Sequence[Item]) -> None:
        """Give each item its result or its error."""
        for item in items:
            self.prepare(item)
        self.predict(items)
        for item in items:
            self.finish(item)

    def prepare(self, item: Item) -> None:
        """Check and prepare one item's inputs; may be done while others are still on their way."""
        self._alone(item, self._prepare)

    def predict(self, items: Sequence[Item]) -> None:
        """Predict for all items whose inputs were good.

        What the batch calls, it calls under the id and deadline of the one that can wait longest.
        """
        started_ns = monotonic_ns()
        good = [item for item in items if item.error is None]
        if good:
            with Executing(_together([item.request for item in good])):
                self._predict(good)
        predict_us = (monotonic_ns() - started_ns) // 1000
        for item in good:
            item.times.predict_us = predict_us

    def finish(self, item: Item) -> None:
        """Make one item's answer of its prediction, if there is one."""
        if item.error is None:
            self._alone(item, self._finish)

    def _alone(self, item: Item, step: Callable[[Item], None]) -> None:
        """Run one item's own step, under its own id; what it raises is its own error."""
        with self._executor.resumed(item.request):
            try:
                step(item)
            except ServiceError as error:
                item.error = error
            except BaseException as error:  # noqa: BLE001 - endpoint code may even raise SystemExit
                item.error = self._executor.failure(error)

    def _prepare(self, item: Item) -> None:
        item.prepared = self._executor.pre_process(item.inputs, item.times)

    def _finish(self, item: Item) -> None:
        item.result = self._executor.post_process(item.inputs, item.result, item.times)
        if isinstance(item.result, ItemStream):
            item.result.close()
            raise EndpointError(
                f"{self._worker.signature} cannot stream the answers of a batch; set BATCH_SIZE to "
                "1, or return a list."
            )

    def _predict(self, items: Sequence[Item]) -> None:
        try:
            prepared = [item.prepared for item in items]
            returned = self._worker._predict_batch(prepared)  # noqa: SLF001
            # A generator runs here, so that what it raises is the endpoint's error as well.
            results = results_of_batch(returned, len(items), self._worker.signature)
        except ServiceError as error:
            for item in items:
                item.error = error
        except BaseException as error:  # noqa: BLE001 - the same
            self._fail(items, error)
        else:
            self._share_out(items, results)

    def _fail(self, items: Sequence[Item], error: BaseException) -> None:
        """Try each alone after a batch of several has raised; a single item has failed."""
        if len(items) == 1:
            items[0].error = self._executor.failure(error)
            return
        self._on_failed_batch(error)
        for item in items:
            self._predict([item])

    def _share_out(self, items: Sequence[Item], results: list[Any]) -> None:
        for item, result in zip(items, results, strict=True):
            if isinstance(result, BaseException):
                item.error = self._executor.failure(result)
            else:
                item.result = result


def _together(requests: list[CurrentRequest]) -> CurrentRequest:
    """Return what stands for all requests of a batch: what it logs is nobody's own."""
    if len(requests) == 1:
        return requests[0]
    patient = max(requests, key=lambda request: request.deadline_ns)
    return CurrentRequest(
        deadline_ns=patient.deadline_ns, depth=patient.depth, calls_as=patient.request_id
    )
