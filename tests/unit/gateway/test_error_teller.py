"""Unit tests of what the gateway makes of a worker's error for its caller."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from basic_inference_server.core.errors import DeadlineExceeded, EndpointError, ServiceError
from basic_inference_server.gateway.error_teller import ErrorTeller
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.wire.error_body import render_error
from tests.support.exchanges import make_exchange
from tests.support.planes import ROUTE

ADDRESS = "u:pw@h"
EXCHANGE = make_exchange(headers={"X-Request-Id": "r-1"})


def told(error: ServiceError, raised: str | None, *, may_administer: bool = False) -> Any:
    """Return the fields of a worker's error as a caller gets them."""
    teller = ErrorTeller("class", lambda exchange: may_administer)
    return json.loads(teller.failure(EXCHANGE, "demo", render_error(error, "r-1", "1", raised)))


@pytest.mark.parametrize(
    ("error", "raised", "expected"),
    [
        (EndpointError(f"demo failed: KeyError: {ADDRESS}"), "KeyError",
         "KeyError in demo; the log has the details (request id r-1)."),
        (EndpointError("demo: a list of 2 is needed."), None, "demo: a list of 2 is needed."),
        (DeadlineExceeded(f"demo had no answer in time: CallError: {ADDRESS}."), "CallError",
         "demo had no answer in time; the log has the details (request id r-1)."),
        (DeadlineExceeded("demo did not answer within 1 s."), None,
         "demo did not answer within 1 s."),
    ],
)  # fmt: skip
def test_worker_errors_are_told_without_what_was_raised(
    error: ServiceError, raised: str | None, expected: str
) -> None:
    """All else is as the worker says it, and the class is no field of its own."""
    fields = told(error, raised)
    assert (expected, error.code, "r-1") == (fields["ERROR"], fields["code"], fields["request_id"])
    assert "raised" not in fields
    assert error.message == told(error, raised, may_administer=True)["ERROR"]


def test_nobody_is_asked_about_where_everybody_is_told() -> None:
    """Who may administer is found out only where it matters."""

    def ask(_: Exchange) -> bool:
        pytest.fail("asked")

    teller = ErrorTeller("full", ask)
    assert "why" == teller.reason(EXCHANGE, replace(ROUTE, last_error="why"))
    assert ErrorTeller("class", ask).reason(EXCHANGE, ROUTE) is None


def test_bytes_that_are_no_error_are_passed_on() -> None:
    """Of a worker that we do not know."""
    assert b"oops" == ErrorTeller("class", lambda exchange: False).failure(EXCHANGE, "a", b"oops")
