"""Unit tests of the text of objects that may do anything."""

from __future__ import annotations

from typing import Any

from basic_inference_server.core.showing import text_of, trace_of

ODD_DETAILS: Any = ("file", "one", 2, 3)


class Stubborn(Exception):
    """An exception that ends the process when it is shown."""

    def __str__(self) -> str:
        raise SystemExit(3)


def test_text_of_what_has_none_is_its_class() -> None:
    """Whoever shows it goes on."""
    assert ["7", "<Stubborn that cannot be shown>", "no text"] == [
        text_of(7), text_of(Stubborn()), text_of(Stubborn(), "no text"),
    ]  # fmt: skip


def fail_with(error: Exception) -> None:
    raise error


def raised(error: Exception) -> Exception:
    try:
        fail_with(error)
    except Exception as caught:  # noqa: BLE001 - the one above
        return caught
    raise AssertionError


def test_traceback_is_the_usual_one() -> None:
    """With the place and the message."""
    lines = trace_of(raised(ValueError("so"))).splitlines()
    assert ("Traceback (most recent call last):", "ValueError: so") == (lines[0], lines[-1])


def test_traceback_that_python_cannot_write_has_place_class_and_message() -> None:
    """A SyntaxError with odd details breaks the standard library's own rendering."""
    lines = trace_of(raised(SyntaxError("odd", ODD_DETAILS))).splitlines()
    assert "Traceback (most recent call last):" == lines[0]
    assert any(", in fail_with" in line for line in lines)
    assert lines[-1].startswith("SyntaxError: odd")
    assert "Stubborn: " in trace_of(raised(Stubborn()))
