"""What the pages of the documentation show, compared with what happens."""

from __future__ import annotations

from typing import Any

# Different in every run: only their kind is compared.
VOLATILE = frozenset(
    {
        "time", "request_id", "worker_id", "call_id", "pid", "worker_pids", "port", "uptime_s",
        "state_for_s", "retry_after_s", "retry_in_s", "reported_s_ago", "cpu_percent",
        "TOKEN", "ID", "CREATED", "EXPIRES",
    }
)  # fmt: skip


def matches(expected: Any, actual: Any, key: str = "") -> bool:
    """Say whether `expected` is in `actual`: a dict may have more keys, a number is rounded."""
    if key in VOLATILE:
        return (expected is None) == (actual is None)
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            name in actual and matches(value, actual[name], name)
            for name, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(matches(*pair) for pair in zip(expected, actual, strict=True))
        )
    if isinstance(expected, float):
        return isinstance(actual, (int, float)) and abs(expected - actual) < 0.0002
    return bool(expected == actual)
