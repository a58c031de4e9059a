"""Unit tests of how much of an error is told."""

from __future__ import annotations

import pytest

from basic_inference_server.core.error_detail import (
    Detail,
    Reason,
    class_raised,
    failure_told,
    reason_told,
)
from basic_inference_server.core.errors import EndpointError

ADDRESS = "u:pw@h"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        (Detail.FULL, f"demo failed: ValueError: {ADDRESS}"),
        (Detail.CLASS, "ValueError in demo; the log has the details (request id r-1)."),
        (Detail.NONE, "demo failed; the log has the details (request id r-1)."),
    ],
)
def test_failure_is_told_as_far_as_it_may_be(detail: Detail, expected: str) -> None:
    """What is left out is in the log, which the id leads to."""
    message = f"demo failed: ValueError: {ADDRESS}"
    assert expected == failure_told(message, "ValueError", "demo", "r-1", detail)


def test_words_of_the_engine_are_no_secret() -> None:
    """Nothing was raised: the sentence says what the author has to change."""
    message = "demo: _predict_batch has to return a list of 2 results."
    assert message == failure_told(message, None, "demo", "r-1", Detail.CLASS)
    assert message == reason_told(message, Detail.CLASS)
    assert "demo failed" in failure_told(message, None, "demo", "r-1", Detail.NONE)
    assert "the log has the details" == reason_told(message, Detail.NONE)


def test_reason_keeps_what_everyone_may_be_told() -> None:
    """It is a text like any other, and for others than administrators a shorter one."""
    reason = Reason(f"Demo could not load: ValueError: {ADDRESS}", "demo could not be loaded")
    assert f"Demo could not load: ValueError: {ADDRESS}" == reason_told(reason, Detail.FULL)
    assert "demo could not be loaded; the log has the details" == reason_told(reason, Detail.CLASS)
    assert [None] * 3 == [reason_told(None, detail) for detail in Detail]
    assert str is type(reason_told(reason, Detail.FULL))


def raised_from(cause: BaseException | None) -> EndpointError:
    error = EndpointError("demo failed")
    error.__cause__ = cause
    return error


def test_class_is_that_of_what_the_endpoint_raised() -> None:
    """Behind errors of ours, however many; a name that has no end is cut."""
    assert class_raised(raised_from(None)) is None
    assert "ZeroDivisionError" == class_raised(raised_from(ZeroDivisionError()))
    assert "SystemExit" == class_raised(raised_from(raised_from(SystemExit())))
    assert 128 == len(class_raised(raised_from(type("E" * 999, (Exception,), {})())) or "")


def test_class_is_found_without_from() -> None:
    """An error that was raised while another was handled hides it no better."""
    error = EndpointError("demo failed")
    error.__context__ = KeyError(ADDRESS)
    assert "KeyError" == class_raised(error)
