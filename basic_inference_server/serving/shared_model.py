"""`_load_shared`: what all workers of a server have in common, loaded once before they are forked.

Forked workers share every page that nobody writes, so a model of 500 MB is there once and not once
for each worker. Only an endpoint whose own file has the method is imported before the fork.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.error_detail import class_raised
from basic_inference_server.core.showing import trace_of
from basic_inference_server.prefork.arbiter import HELD_SIGNALS
from basic_inference_server.worker.discovery import FoundEndpoint, find_endpoint
from basic_inference_server.worker.execution import describe, effective_config, load_shared
from basic_inference_server.worker.kept_code import KeptCode
from basic_inference_server.worker.load_error import EndpointLoadError

HOOK = "_load_shared"
MAX_ERROR = 2000
MAX_TRACEBACK = 8000


@dataclass(frozen=True)
class SharedModel:
    """An endpoint that was imported before the fork, and what its `_load_shared` returned."""

    endpoint: FoundEndpoint
    value: Any


def defines_hook(code: CodeType) -> bool:
    """Say whether compiled source defines a function of that name."""
    return any(inner.co_name == HOOK for inner in _functions(code))


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _functions(constant)


def load_before_fork(
    spec: ServerSpec, kept: KeptCode | None, announcer: Announcer
) -> SharedModel | None:
    """Return what the workers share; `None` when the endpoint has no `_load_shared`.

    A load that takes too long ends the process, with its stacks in the log. One that fails is
    announced, and then the supervisor decides: this does not return.
    """
    if kept is None or not defines_hook(kept.code):
        return None
    announcer.announce("loading", worker_id=0, pid=os.getpid())
    # From a thread of C code, which a load that holds the interpreter cannot keep from working.
    faulthandler.dump_traceback_later(spec.load_timeout_s, exit=True)
    try:
        folder = Path(spec.base_folder) / spec.workers_location
        found = find_endpoint(folder, spec.server_class, spec.workers_suffix, kept)
        config = effective_config(found.default_config, spec.section)
        return SharedModel(found, load_shared(found.worker_class, config))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the supervisor is told
        for number in HELD_SIGNALS:  # the endpoint's file may have taken them before it failed
            signal.signal(number, signal.SIG_DFL)
        announce_load_failure(announcer, spec, 0, error)
        faulthandler.cancel_dump_traceback_later()
        while True:
            signal.pause()
    finally:
        faulthandler.cancel_dump_traceback_later()


def announce_load_failure(
    announcer: Announcer, spec: ServerSpec, worker_id: int, error: BaseException
) -> None:
    """Tell the supervisor why an endpoint could not be loaded."""
    cause = error.__cause__ or error
    is_known = isinstance(error, EndpointLoadError)
    reason = str(error) if is_known else f"{spec.server_class} could not load: {describe(error)}"
    raised = class_raised(error) if is_known else type(error).__name__
    # What everybody may read says which file, not where on the machine it lies.
    reason = reason.replace(spec.base_folder.rstrip("/") + "/", "")
    trace = trace_of(cause)
    announcer.announce(
        "load_failed",
        worker_id=worker_id,
        pid=os.getpid(),
        error=reason[:MAX_ERROR],
        brief=f"{spec.signature} could not be loaded" + (f" ({raised})" if raised else ""),
        traceback=trace[-MAX_TRACEBACK:],
        is_permanent=isinstance(error, EndpointLoadError) and error.is_permanent,
    )
