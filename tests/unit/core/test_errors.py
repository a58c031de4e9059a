"""Unit tests of the errors that a client can see: status, code, and whether a retry is safe."""

from __future__ import annotations

import pytest

from basic_inference_server.core import errors
from basic_inference_server.core.errors import ServiceError

# The table of the HTTP contract: status, code, retryable, executed.
CONTRACT = {
    (400, "bad_json", False, "no"),
    (400, "missing_signature", False, "no"),
    (401, "unauthorized", False, "no"),
    (403, "forbidden", False, "no"),
    (404, "unknown_signature", False, "no"),
    (404, "not_found", False, "no"),
    (405, "method_not_allowed", False, "no"),
    (413, "body_too_large", False, "no"),
    (415, "unsupported_media_type", False, "no"),
    (422, "bad_input", False, "no"),
    (429, "too_many_attempts", True, "no"),
    (500, "endpoint_error", False, "yes"),
    (502, "worker_died", False, "unknown"),
    (503, "not_ready", True, "no"),
    (503, "overloaded", True, "no"),
    (503, "shutting_down", True, "no"),
    (504, "deadline_exceeded", False, "unknown"),
}
# What a request can fail with before it is one, and a fault of the engine itself.
BESIDE_THE_CONTRACT = {
    (400, "bad_request", False, "no"),
    (408, "request_timeout", True, "no"),
    (414, "uri_too_long", False, "no"),
    (422, "quarantined", False, "no"),
    (431, "headers_too_large", False, "no"),
    (500, "internal_error", False, "unknown"),
    (503, "storage_unavailable", True, "no"),
    (508, "call_circle", False, "no"),
}


def every_error() -> list[type[ServiceError]]:
    return [
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, ServiceError) and one is not ServiceError
    ]


def test_errors_are_exactly_those_of_the_contract() -> None:
    """One class for each row of the contract's table, and none that it does not know."""
    made = {(one.status, one.code, one.retryable, one.executed) for one in every_error()}
    assert CONTRACT | BESIDE_THE_CONTRACT == made


def test_each_code_belongs_to_one_error() -> None:
    """A program that reads the code knows the error."""
    codes = [one.code for one in every_error()]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("one", every_error(), ids=lambda one: one.__name__)
def test_each_error_keeps_the_promises_of_its_status(one: type[ServiceError]) -> None:
    """503 always means 'not executed, send again'; a client's fault is never executed."""
    if one.status == 503:
        assert (True, "no") == (one.retryable, one.executed)
    if one.status < 500:
        assert "no" == one.executed
    assert one.executed in {"no", "yes", "unknown"}


def test_error_carries_its_message_and_details() -> None:
    """The sentence is for people, the details are for programs."""
    error = errors.Overloaded("Full.", retry_after_s=3)
    assert ("Full.", "Full.", {"retry_after_s": 3}) == (str(error), error.message, error.details)
