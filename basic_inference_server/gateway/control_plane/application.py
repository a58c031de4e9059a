"""Makes the control plane late: Flask is imported after the ports are open.

The first request to an endpoint does not wait 300 ms for a library that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.gateway.control_plane.access import AccessRules
from basic_inference_server.gateway.token_gate import TokenGate

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def make_application_factory(
    spec: GatewaySpec, gate: TokenGate, rules: AccessRules
) -> Callable[[], WSGIApplication]:
    """Return a function that makes the control plane's application."""

    def make() -> WSGIApplication:
        module = import_module("basic_inference_server.gateway.control_plane.flask_app")
        application: WSGIApplication = module.make_flask_application(spec, gate, rules)
        return application

    return make
