"""Which hooks of an endpoint are coroutines, and which of them may be."""

from __future__ import annotations

from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

from basic_inference_server.worker.flask_worker import FlaskWorker

# Awaited where `_predict` is a coroutine; those that may yield are streams then.
AWAITED = frozenset({"_load_model", "_pre_process", "_predict", "_post_process"})
MAY_YIELD = frozenset({"_predict", "_post_process"})


def is_async_function(function: Any) -> bool:
    """Say whether a function is defined with `async def`."""
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def is_async(worker_class: type[FlaskWorker]) -> bool:
    """Say whether an endpoint's requests are executed as tasks of an event loop."""
    return is_async_function(worker_class._predict)  # noqa: SLF001 - authors' hooks


def async_problem(worker_class: type[FlaskWorker], hook: str, written: str) -> str:
    """Return what is wrong with a hook that is a coroutine, where nobody would await it.

    Args:
        worker_class: the endpoint's class.
        hook: the hook's name.
        written: how it is written as a plain function.
    """
    method = getattr(worker_class, hook)
    if not is_async_function(method):
        return ""
    where = f"{worker_class.__name__}.{hook}"
    if hook not in AWAITED:
        return f"{where} is async, and nobody would await it: write def {written}"
    if hook not in MAY_YIELD and isasyncgenfunction(method):
        return f"{where} is async and yields, but it has to return one value: take the yield out"
    if not is_async(worker_class):
        return f"{where} is async and _predict is not: write def {written}, or async def _predict"
    return ""


def no_batches(worker_class: type[FlaskWorker], batch_size: int) -> str:
    """Return why an endpoint on an event loop cannot have batches."""
    return (
        f"BATCH_SIZE is {batch_size}, but {worker_class.__name__}._predict is async: set "
        "BATCH_SIZE to 1, and THREADS to the number of requests that shall run at the same time"
    )
