"""The JSON body of an error: one sentence for people, a code for programs."""

from __future__ import annotations

from typing import Any, Final

from basic_inference_server.core.clock import local_time_text
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.wire.json_codec import encode

RAISED: Final = "raised"


def render_error(
    error: ServiceError, request_id: str, version: str, raised: str | None = None
) -> bytes:
    """Return the body of `error`; its details are fields beside the fixed ones.

    `raised`, the class of what endpoint code raised, is for the gateway, which takes it out.
    """
    body: dict[str, Any] = {
        "ERROR": error.message,
        "code": error.code,
        "request_id": request_id,
        "retryable": error.retryable,
        "executed": error.executed,
        "time": local_time_text(),
        "ver": version,
    }
    if raised is not None:
        body[RAISED] = raised
    for name, value in error.details.items():
        body.setdefault(name, value)
    return encode(body)
