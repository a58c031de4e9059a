"""Which hooks of an endpoint are coroutines, and which of them may be."""

from __future__ import annotations

from inspect import isasyncgenfunction, iscoroutinefunction

from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.load_error import EndpointLoadError

AWAITED_HOOKS = ("_load_model", "_pre_process", "_post_process")
PLAIN_HOOKS = ("_load_shared", "_predict_batch")


def _is_async_hook(worker_class: type[FlaskWorker], hook: str) -> bool:
    function = getattr(worker_class, hook)
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def is_async(worker_class: type[FlaskWorker]) -> bool:
    """Say whether an endpoint's requests are executed as tasks of an event loop."""
    return _is_async_hook(worker_class, "_predict")


def check_hooks(worker_class: type[FlaskWorker], batch_size: int = 1) -> None:
    """Check that hooks are coroutines only where somebody awaits them.

    Raises:
        EndpointLoadError: one is where it must not be; the message says what to change.
    """
    name = worker_class.__name__
    for hook in PLAIN_HOOKS:
        if _is_async_hook(worker_class, hook):
            raise EndpointLoadError(f"{name}.{hook} is an async def; make it a plain function")
    if is_async(worker_class):
        if batch_size > 1:
            raise EndpointLoadError(
                f"BATCH_SIZE is {batch_size}, but {name}._predict is an async def: set BATCH_SIZE "
                "to 1, and THREADS to the number of requests that shall run at the same time"
            )
        return
    for hook in AWAITED_HOOKS:
        if _is_async_hook(worker_class, hook):
            raise EndpointLoadError(
                f"{name}.{hook} is an async def and {name}._predict is not; "
                "make both of them async, or neither"
            )
