"""Routes that change something: start, stop, restart, scale, report, shut down."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from basic_inference_server.core.errors import BadInput, BadRequest, Forbidden
from basic_inference_server.core.topology import SHUTDOWN_SIGNATURE
from basic_inference_server.gateway.control_plane.fields import request_fields, signature_field
from basic_inference_server.gateway.control_plane.plumbing import (
    administrator_only,
    administrator_reader,
    control_plane,
    respond,
    supervisor,
)

SLOW_ANSWER_S = 180.0
MAX_WORKERS = 256
MAX_REASON = 200

administration = Blueprint("administration", __name__)
METHODS = ["GET", "POST"]


@administration.route("/start_server", methods=METHODS)
@administrator_only
def start_server() -> Response:
    """Start a server, a disabled one too, and answer when it is ready or cannot be."""
    return _command("start_server")


@administration.route("/restart_server", methods=METHODS)
@administrator_only
def restart_server() -> Response:
    """Replace a server by a new generation without losing a request."""
    return _command("restart_server")


@administration.route("/kill_server", methods=METHODS)
@administrator_only
def kill_server() -> Response:
    """Stop a server, or all with `*`; requests in flight finish."""
    return _command("kill_server", wildcard=True)


def _reason(fields: dict[str, Any]) -> str:
    """Return the text in which the caller says why; anything else says nothing."""
    reason = fields.get("REASON")
    return reason[:MAX_REASON] if isinstance(reason, str) else ""


def _command(command: str, *, wildcard: bool = False) -> Response:
    fields = request_fields()
    signature = signature_field(fields, wildcard=wildcard)
    reason = _reason(fields)
    return respond(
        supervisor().ask(command, signature=signature, reason=reason, timeout_s=SLOW_ANSWER_S)
    )


@administration.route("/update_workers", methods=METHODS)
@administrator_only
def update_workers() -> Response:
    """Scale a server up or down, live; no request is dropped."""
    fields = request_fields()
    signature = signature_field(fields)
    count = _whole_number(fields.get("NR_WORKERS"))
    if count is None or not 1 <= count <= MAX_WORKERS:
        raise BadInput(f"NR_WORKERS must be an integer from 1 to {MAX_WORKERS}.")
    return respond(
        supervisor().ask(
            "update_workers", signature=signature, count=count, timeout_s=SLOW_ANSWER_S
        )
    )


def _whole_number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None


@administration.route("/support_update_status", methods=METHODS)
def support_update_status() -> Response:
    """Take the report of a support process, from itself or from an administrator."""
    rules = control_plane().rules
    reporter = rules.reporter(request.environ)
    if reporter is None:
        rules.require_administrator(request.environ, changes=True)
    fields = request_fields()
    name = fields.get("SIGNATURE")
    if not isinstance(name, str):
        raise BadInput("SIGNATURE must name the support process.")
    if reporter not in {None, name}:
        raise Forbidden(f"This is the password of {reporter}, which reports for itself only.")
    return respond(supervisor().ask("support_report", signature=name, report=fields))


@administration.route("/reload", methods=METHODS)
@administrator_only
def reload() -> Response:
    """Apply the configuration file as it is now, without losing a request."""
    reason = _reason(request_fields())
    return respond(supervisor().ask("reload", reason=reason, timeout_s=SLOW_ANSWER_S))


@administration.route("/quarantine", methods=METHODS)
@administrator_reader
def quarantine() -> Response:
    """List the requests that have killed their worker twice."""
    return respond(supervisor().ask("quarantine"))


@administration.route("/release_quarantine", methods=METHODS)
@administrator_only
def release_quarantine() -> Response:
    """Let one of those requests be executed again, or all with `*`."""
    reference = request_fields().get("REFERENCE")
    if not isinstance(reference, str):
        raise BadInput("REFERENCE must be one that /quarantine lists, or *.")
    return respond(supervisor().ask("release_quarantine", reference=reference))


@administration.route("/shutdown", methods=METHODS)
@administrator_only
def shutdown() -> Response:
    """Answer, then drain and stop everything, and exit 0: `run.sh` starts the new version."""
    signature = request_fields().get("SIGNATURE")
    if not isinstance(signature, str) or signature.upper() != SHUTDOWN_SIGNATURE:
        raise BadRequest(f"To shut down, send SIGNATURE {SHUTDOWN_SIGNATURE}; nothing was done.")
    return respond(supervisor().ask("shutdown"))
