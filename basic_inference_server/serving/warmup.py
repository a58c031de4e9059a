"""Runs the inputs of `WARMUP` through a loaded endpoint before it takes its first request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from basic_inference_server.core.errors import BadInput, ServiceError
from basic_inference_server.wire.json_codec import encode
from basic_inference_server.worker.binary import Binary
from basic_inference_server.worker.execution import describe
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.whole_execution import whole_execution

FILE: Final = "$file"
TYPE: Final = "$type"


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
    for number, written in enumerate(requests):
        inputs = {
            "SIGNATURE": worker.signature,
            **{key: with_files(value, f"WARMUP[{number}].{key}") for key, value in written.items()},
        }
        try:
            with executor.request("warmup"):
                encode(executor.answer(execute(inputs)))
        except BaseException as error:
            reason = error if isinstance(error, (ServiceError, TypeError)) else describe(error)
            is_permanent = isinstance(error, (BadInput, TypeError))
            raise EndpointLoadError(
                f"WARMUP[{number}] failed: {reason}", is_permanent=is_permanent
            ) from error


def with_files(value: Any, where: str) -> Any:
    """Return an input with the files that it names, as a request brings them.

    `{"$file": path}` is a file, beside which `"$type"` may say its media type; the path is
    relative to the base folder. A list may hold several.

    Raises:
        EndpointLoadError: a file cannot be read, or is not named by a text.
    """
    if isinstance(value, list):
        return [with_files(item, where) for item in value]
    if not isinstance(value, dict) or FILE not in value:
        return value
    path, content_type = value[FILE], value.get(TYPE)
    is_named = isinstance(path, str) and (content_type is None or isinstance(content_type, str))
    if not is_named or value.keys() - {FILE, TYPE}:
        shape = f'{{"{FILE}": "a path"}}, with a "{TYPE}" such as "image/png" or without'
        raise EndpointLoadError(f"{where}: a file is written as {shape}")
    try:
        return Binary.of_file(Path(path), content_type)
    except OSError as error:
        raise EndpointLoadError(
            f"{where}: {path} cannot be read: {error.strerror or error}", is_permanent=False
        ) from error
