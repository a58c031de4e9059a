"""Unit tests of the JSON body of an error."""

from __future__ import annotations

import re

from basic_inference_server.core.errors import Overloaded, UnknownSignature, WorkerDied
from basic_inference_server.wire.error_body import render_error
from basic_inference_server.wire.json_codec import decode_object


def test_error_body_has_the_fields_of_the_contract() -> None:
    """A sentence for people, a code for programs, and whether a retry is safe."""
    body = decode_object(render_error(Overloaded("Full."), "id-1", "2.3.2"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", body.pop("time"))
    assert {
        "ERROR": "Full.", "code": "overloaded", "request_id": "id-1", "retryable": True,
        "executed": "no", "ver": "2.3.2",
    } == body  # fmt: skip


def test_error_body_shows_details_beside_them() -> None:
    """What helps a program is a field of its own."""
    body = decode_object(render_error(UnknownSignature("No.", available=["a"]), "id", "1"))
    assert ["a"] == body["available"]


def test_detail_never_replaces_a_fixed_field() -> None:
    """A detail of the same name as a fixed field loses."""
    error = WorkerDied("Gone.", code="ok", retryable=True, cause="signal 9")
    body = decode_object(render_error(error, "id", "1"))
    assert ("worker_died", "unknown", False, "signal 9") == (
        body["code"], body["executed"], body["retryable"], body["cause"],
    )  # fmt: skip


def test_error_of_any_text_has_a_body() -> None:
    """A message that came out of broken bytes is shown somehow and causes no other error."""
    assert b"Gone" in render_error(WorkerDied("Gone: \udcff"), "id", "1")
