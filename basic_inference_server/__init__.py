"""A multi-worker model-serving gateway: public names, resolved on first use.

Importing an endpoint must not import the gateway, so each name is looked up lazily (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from basic_inference_server._version import LIB_VER

if TYPE_CHECKING:
    from basic_inference_server.core.logger import Logger
    from basic_inference_server.core.packages import get_packages
    from basic_inference_server.main import FlaskGateway, FlaskModelServer
    from basic_inference_server.worker.binary import Binary
    from basic_inference_server.worker.call_error import CallError
    from basic_inference_server.worker.flask_worker import FlaskWorker

__all__ = [
    "LIB_VER",
    "Binary",
    "CallError",
    "FlaskGateway",
    "FlaskModelServer",
    "FlaskWorker",
    "Logger",
    "get_packages",
]

_HOME_OF = {
    "Binary": "basic_inference_server.worker.binary",
    "CallError": "basic_inference_server.worker.call_error",
    "FlaskGateway": "basic_inference_server.main",
    "FlaskModelServer": "basic_inference_server.main",
    "FlaskWorker": "basic_inference_server.worker.flask_worker",
    "Logger": "basic_inference_server.core.logger",
    "get_packages": "basic_inference_server.core.packages",
}


def __getattr__(name: str) -> Any:
    """Import the module that defines `name` the first time somebody asks for it."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
