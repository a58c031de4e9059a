"""Runs the inputs of `WARMUP` through a loaded endpoint before it takes its first request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from basic_inference_server.core.errors import BadInput, ServiceError
from basic_inference_server.wire.json_codec import encode
from basic_inference_server.worker.execution import describe
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.whole_execution import whole_execution


def warm_up(
    worker: FlaskWorker, requests: Sequence[dict[str, Any]], run: Callable[[Any], Any]
) -> None:
    """Run inputs through the hooks of a loaded worker before it takes its first request.

    Args:
        worker: the endpoint.
        requests: the inputs.
        run: runs a coroutine to its end, for an endpoint on an event loop.

    Raises:
        EndpointLoadError: one of them failed; worth another try unless the inputs were refused.
    """
    executor, execute = whole_execution(worker, run)
    for number, inputs in enumerate(requests):
        try:
            with executor.request("warmup"):
                encode(executor.answer(execute(dict(inputs))))
        except BaseException as error:
            reason = error if isinstance(error, (ServiceError, TypeError)) else describe(error)
            is_permanent = isinstance(error, (BadInput, TypeError))
            raise EndpointLoadError(
                f"WARMUP[{number}] failed: {reason}", is_permanent=is_permanent
            ) from error
