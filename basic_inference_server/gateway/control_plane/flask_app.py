"""The Flask application: blueprints, access rules, JSON errors for everything."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
)
from basic_inference_server.core.logs import EventLog, process_sink
from basic_inference_server.gateway.challenge import challenge
from basic_inference_server.gateway.control_plane.access import AccessRules
from basic_inference_server.gateway.control_plane.administration import administration
from basic_inference_server.gateway.control_plane.plumbing import EXTENSION, ControlPlane
from basic_inference_server.gateway.control_plane.status import DIRECT_PATHS, status
from basic_inference_server.gateway.control_plane.supervisor_client import SupervisorClient
from basic_inference_server.gateway.control_plane.token_routes import token_administration
from basic_inference_server.gateway.token_gate import TokenGate
from basic_inference_server.wire.error_body import render_error

BLUEPRINTS = (status, administration, token_administration)


def make_flask_application(spec: GatewaySpec, gate: TokenGate, rules: AccessRules) -> Flask:
    """Return the control plane of a gateway process."""
    application = Flask("basic_inference_server", static_folder=None)
    application.url_map.strict_slashes = True  # one slash at the end has been taken off
    application.url_map.merge_slashes = False  # Flask would redirect, with an HTML page
    application.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    log = EventLog(process_sink(), spec.log_level)
    application.extensions[EXTENSION] = ControlPlane(
        rules, SupervisorClient(spec.control_path), spec.app_version, gate.store, log
    )
    for blueprint in BLUEPRINTS:
        application.register_blueprint(blueprint)
    application.before_request(_only_direct_paths)
    _answer_errors_as_json(application, spec, log)
    return application


def _only_direct_paths() -> None:
    """A server's own port has a few routes only."""
    if request.environ.get("bis.bound_signature") is not None and request.path not in DIRECT_PATHS:
        raise NotFound(f"There is no {request.path[:200]} on this port.", available=DIRECT_PATHS)


def _answer_errors_as_json(application: Flask, spec: GatewaySpec, log: EventLog) -> None:
    def respond(error: ServiceError) -> Response:
        body = render_error(error, request.environ.get("bis.request_id", ""), spec.app_version)
        response = Response(body, error.status, mimetype="application/json")
        asked = challenge(error)
        if asked is not None:
            response.headers["WWW-Authenticate"] = asked
        if "retry_after_s" in error.details:
            response.headers["Retry-After"] = str(error.details["retry_after_s"])
        if "allowed" in error.details:
            response.headers["Allow"] = ", ".join(error.details["allowed"])
        return response

    @application.errorhandler(ServiceError)
    def on_service_error(error: ServiceError) -> Response:
        return respond(error)

    @application.errorhandler(HTTPException)
    def on_http_exception(error: HTTPException) -> Response:
        if error.code == 404:
            return respond(NotFound(f"There is no route {request.path[:200]}."))
        if error.code == 405:
            allowed = sorted(getattr(error, "valid_methods", None) or [])
            message = f"{request.path[:200]} takes {', '.join(allowed)}."
            return respond(MethodNotAllowed(message, allowed=allowed))
        return respond(BadRequest(str(error.description)))

    @application.errorhandler(Exception)
    def on_exception(error: Exception) -> Response:
        log.error("control_plane_fault", error=repr(error), path=request.path)
        return respond(InternalError("The control plane failed; the log says how."))
