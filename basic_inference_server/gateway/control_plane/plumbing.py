"""What all routes share: access checks, the supervisor, the metadata of an answer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, request

from basic_inference_server._version import LIB_VER
from basic_inference_server.core.clock import local_time_text
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.tokens_file import TokenStore
from basic_inference_server.gateway.control_plane.access import AccessRules
from basic_inference_server.gateway.control_plane.supervisor_client import SupervisorClient
from basic_inference_server.wire.json_codec import encode

EXTENSION = "basic_inference_server"

View = Callable[..., Response]


@dataclass(frozen=True)
class ControlPlane:
    """The parts that the routes work with."""

    rules: AccessRules
    client: SupervisorClient
    version: str
    tokens: TokenStore
    log: EventLog


def control_plane() -> ControlPlane:
    """Return the parts of the current application."""
    parts: ControlPlane = current_app.extensions[EXTENSION]
    return parts


def supervisor() -> SupervisorClient:
    """Return the line to the supervisor."""
    return control_plane().client


def reader(view: View) -> View:
    """Guard a route that only reads."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        control_plane().rules.require_reader(request.environ)
        return view(*args, **kwargs)

    return guarded


def administrator_only(view: View) -> View:
    """Guard a route that changes something; the check comes before the body is looked at."""
    return _for_administrators(view, changes=True)


def administrator_reader(view: View) -> View:
    """Guard a route on which administrators only read."""
    return _for_administrators(view, changes=False)


def _for_administrators(view: View, *, changes: bool) -> View:
    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        control_plane().rules.require_administrator(request.environ, changes=changes)
        return view(*args, **kwargs)

    return guarded


def token_holder_only(view: View) -> View:
    """Guard a route for which a token is needed, whatever else is open."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        control_plane().rules.require_token(request.environ)
        return view(*args, **kwargs)

    return guarded


def respond(fields: dict[str, Any], status: int = 200) -> Response:
    """Return fields as JSON with the metadata that every answer has."""
    answer = dict(fields)
    for name, value in (
        ("time", local_time_text()),
        ("ver", control_plane().version),
        ("ver_lib", LIB_VER),
    ):
        answer.setdefault(name, value)
    return Response(encode(answer), status, mimetype="application/json")
