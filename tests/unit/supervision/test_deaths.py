"""Unit tests of what a worker's end says about its server."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server.supervision.autopsy import Verdict
from basic_inference_server.supervision.deaths import describe_exit, fault_of

CLEAN = {"is_clean": True}
UNLOADED = {"had_loaded": False}
CRASHED = {"has_crashed": True, "was_unused": True}
UNUSED = {"was_unused": True}
USED: dict[str, Any] = {}
HINT = "(os._exit or sys.exit in the endpoint?)"
QUIT = f"a worker ended with exit code 0 while it loaded {HINT}"
AFTER_LOAD = "a worker ended soon after it had loaded: "


def ended(cause: str, **changes: Any) -> dict[str, Any]:
    """Return the announcement of a worker's end, long after its load."""
    fields = {
        "is_clean": False, "had_loaded": True, "has_crashed": False, "was_unused": False,
        "cause": cause,
    }  # fmt: skip
    return {**fields, **changes}


@pytest.mark.parametrize(
    ("changes", "cause", "verdict", "expected"),
    [
        pytest.param(CLEAN, "exit code 0", "exit code 0", None, id="asked for"),
        pytest.param(USED, "signal 11", "signal 11", None, id="after requests"),
        pytest.param(UNLOADED, "exit code 0", "exit code 0",
                     QUIT, id="exit in the load"),
        pytest.param(UNLOADED, "signal 11", "signal 11",
                     "a worker died while loading: signal 11", id="crash in the load"),
        pytest.param(CRASHED, "exit code 3", "exit code 3", AFTER_LOAD + "exit code 3",
                     id="crash after loading"),
        pytest.param(UNUSED, "signal 9", "signal 9", None, id="killed from outside"),
        pytest.param(UNUSED, "signal 9", "memory: too much", AFTER_LOAD + "memory: too much",
                     id="ended by us for a reason"),
        pytest.param(USED, "signal 9", "memory: too much", None, id="a request's memory"),
    ],
)  # fmt: skip
def test_end_is_a_fault_where_the_next_worker_will_end_like_it(
    changes: dict[str, Any], cause: str, verdict: str, expected: str | None
) -> None:
    """A request and somebody outside end one worker, and no other."""
    assert expected == fault_of(ended(cause, **changes), Verdict(verdict, False))


@pytest.mark.parametrize(
    ("code", "expected"), [(0, f"exit code 0 {HINT}"), (7, "exit code 7"), (-9, "signal 9")]
)
def test_master_that_ends_is_never_well(code: int, expected: str) -> None:
    """Exit code 0 is a question then, and no answer."""
    assert expected == describe_exit(code)
