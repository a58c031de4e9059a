"""What every error answer has to look like: the error table, and one check for all of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import requests

from tests.functional.raw_client import RawAnswer

# code: status, retryable, executed
ERROR_TABLE: Final[dict[str, tuple[int, bool, str]]] = {
    "bad_json": (400, False, "no"),
    "bad_request": (400, False, "no"),
    "missing_signature": (400, False, "no"),
    "unauthorized": (401, False, "no"),
    "forbidden": (403, False, "no"),
    "unknown_signature": (404, False, "no"),
    "not_found": (404, False, "no"),
    "method_not_allowed": (405, False, "no"),
    "body_too_large": (413, False, "no"),
    "unsupported_media_type": (415, False, "no"),
    "bad_input": (422, False, "no"),
    "too_many_attempts": (429, True, "no"),
    "endpoint_error": (500, False, "yes"),
    "worker_died": (502, False, "unknown"),
    "not_ready": (503, True, "no"),
    "overloaded": (503, True, "no"),
    "shutting_down": (503, True, "no"),
    "storage_unavailable": (503, True, "no"),
    "deadline_exceeded": (504, False, "unknown"),
}


def check_error(code: str, answer: requests.Response | RawAnswer) -> dict[str, Any]:
    """Check an answer against the row of the error table; return its body."""
    body: dict[str, Any] = json.loads(answer.content)
    shown = f"{answer.status_code} {body}"
    assert {"ERROR", "code", "request_id", "retryable", "executed", "time", "ver"} <= body.keys(), (
        shown
    )
    fixed = (answer.status_code, body["retryable"], body["executed"])
    assert (code, ERROR_TABLE[code]) == (body["code"], fixed), shown
    assert "application/json" == answer.headers["Content-Type"], shown
    assert answer.headers["X-Request-Id"] == body["request_id"], shown
    assert isinstance(body["ERROR"], str), shown
    assert body["ERROR"], shown
    assert "Traceback" not in body["ERROR"], shown
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", body["time"]), shown
    assert isinstance(body["ver"], str), shown
    if "retry_after_s" in body:
        assert 1 <= int(answer.headers["Retry-After"]) <= 120, shown
    return body
