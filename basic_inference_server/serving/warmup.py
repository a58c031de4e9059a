"""Runs the inputs of `WARMUP` through a loaded endpoint before it takes its first request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basic_inference_server.core.errors import BadInput, ServiceError
from basic_inference_server.wire.json_codec import encode
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.streams import collected


def warm_up(worker: FlaskWorker, requests: Sequence[dict[str, Any]]) -> None:
    """Run inputs through the hooks of a loaded worker before it takes its first request.

    Raises:
        EndpointLoadError: one of them failed; worth another try unless the inputs were refused.
    """
    executor = Executor(worker, {})
    for number, inputs in enumerate(requests):
        try:
            with executor.request("warmup"):
                result = executor.execute(dict(inputs), PhaseTimes())
                encode(executor.answer(collected(result)))
        except (ServiceError, TypeError) as error:
            is_permanent = isinstance(error, (BadInput, TypeError))
            raise EndpointLoadError(
                f"WARMUP[{number}] failed: {error}", is_permanent=is_permanent
            ) from error
