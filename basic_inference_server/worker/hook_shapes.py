"""Says at the load what would otherwise fail at the first request: hooks that cannot be called."""

from __future__ import annotations

import inspect
from typing import Any

from basic_inference_server.worker.async_hooks import async_problem
from basic_inference_server.worker.flask_worker import FlaskWorker

# How each hook is written; called with as many arguments beside `self`.
WRITTEN = {
    "_load_model": "_load_model(self)",
    "_pre_process": "_pre_process(self, inputs)",
    "_predict": "_predict(self, prep_inputs)",
    "_predict_batch": "_predict_batch(self, prepared)",
    "_post_process": "_post_process(self, pred)",
}
SHARED = "_load_shared"


def overrides(worker_class: type[FlaskWorker], hook: str) -> bool:
    """Say whether an endpoint's class has a hook of its own."""
    return getattr(worker_class, hook) is not getattr(FlaskWorker, hook)


def hook_problem(worker_class: type[FlaskWorker]) -> str:
    """Return what is wrong with an endpoint's hooks, as a sentence that says what to write."""
    name = worker_class.__name__
    problems = [_problem(worker_class, hook) for hook in WRITTEN]
    if not (overrides(worker_class, "_predict") or overrides(worker_class, "_predict_batch")):
        problems.append(
            f"{name} needs a method {WRITTEN['_predict']}, or {WRITTEN['_predict_batch']}"
        )
    problems.append(_shared_problem(worker_class))
    if not _takes(worker_class, {"context": None}):
        problems.append(
            f"{name}.__init__ has to take what the engine gives it and pass it on: "
            "def __init__(self, **kwargs): super().__init__(**kwargs)"
        )
    return next(filter(None, problems), "")


def _problem(worker_class: type[FlaskWorker], hook: str) -> str:
    if not overrides(worker_class, hook):
        return ""
    where = f"{worker_class.__name__}.{hook}"
    method = getattr(worker_class, hook)
    written = f"write def {WRITTEN[hook]}"
    given = WRITTEN[hook].count(",")
    if not isinstance(inspect.getattr_static(worker_class, hook), (staticmethod, classmethod)):
        given += 1  # self
    if not callable(method):
        return f"{where} has to be a method, not {type(method).__name__}: {written}"
    problem = async_problem(worker_class, hook, WRITTEN[hook])
    if problem:
        return problem
    if not _takes(method, given=given):
        shown = f"{where}{inspect.signature(method, follow_wrapped=False)}"
        return f"{shown} does not take what the engine gives it: {written}"
    return ""


def _shared_problem(worker_class: type[FlaskWorker]) -> str:
    method = inspect.getattr_static(worker_class, SHARED)
    if isinstance(method, (classmethod, staticmethod)) and _takes(
        getattr(worker_class, SHARED), given=1
    ):
        return async_problem(worker_class, SHARED, f"{SHARED}(cls, config_data)")
    return (
        f"{worker_class.__name__}.{SHARED} has to be a class method, it runs before there is a "
        f"worker: write @classmethod above def {SHARED}(cls, config_data)"
    )


def _takes(function: Any, named: dict[str, Any] | None = None, *, given: int = 0) -> bool:
    """Say whether a function can be called so; those that tell nothing about themselves can."""
    try:
        # A decorator is asked, and not what it is around: it may give that one more.
        signature = inspect.signature(function, follow_wrapped=False)
    except (ValueError, TypeError):
        return True
    try:
        signature.bind(*[None] * given, **(named or {}))
    except TypeError:
        return False
    return True
