"""All faults and all systems, in the order of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType

from faults import (
    load_failure,
    malformed_json,
    overload,
    parent_killed,
    reload_under_load,
    slow_clients,
    worker_hung,
    worker_killed,
)
from faults.gateway_system import GATEWAY
from faults.gunicorn_systems import DIRTY, FLASK
from faults.peer_systems import BENTOML, LITSERVE, MLSERVER, MOSEC
from faults.system import System
from faults.verdict import Finding


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    key: str
    title: str
    question: str
    run: Callable[[System], Awaitable[Finding]]


def _fault(key: str, module: ModuleType) -> Fault:
    return Fault(key, module.TITLE, module.QUESTION, module.run)


FAULTS = {
    fault.key: fault
    for fault in (
        _fault("killed", worker_killed),
        _fault("hung", worker_hung),
        _fault("load", load_failure),
        _fault("reload", reload_under_load),
        _fault("overload", overload),
        _fault("slow", slow_clients),
        _fault("json", malformed_json),
        _fault("parent", parent_killed),
    )
}

SYSTEMS = {
    system.key: system for system in (GATEWAY, MOSEC, LITSERVE, BENTOML, MLSERVER, DIRTY, FLASK)
}
