"""Runs inputs through a loaded endpoint to its whole result, whether its hooks are async or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from basic_inference_server.worker.async_hooks import is_async
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.streams import collected

Execute = Callable[[dict[str, Any]], Any]


def whole_execution(worker: FlaskWorker, run: Callable[[Any], Any]) -> tuple[Executor, Execute]:
    """Return the worker's executor, and what executes the inputs of its current request.

    Args:
        worker: the endpoint.
        run: runs a coroutine to its end.
    """
    if not is_async(type(worker)):
        executor = Executor(worker, {})
        return executor, lambda inputs: collected(executor.execute(inputs, PhaseTimes()))
    # Imported here: other endpoints need no event loop.
    from basic_inference_server.worker.async_execution import AsyncExecutor  # noqa: PLC0415

    awaiting = AsyncExecutor(worker, {})
    return awaiting, lambda inputs: run(awaiting.whole_async(inputs, PhaseTimes()))
