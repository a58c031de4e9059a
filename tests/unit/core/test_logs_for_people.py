"""Unit tests of what people read on a terminal."""

from __future__ import annotations

import pytest

from basic_inference_server.core.logs import Event, to_console

EVENT: Event = {
    "time": "2024-05-06T07:08:09.123Z", "level": "warning", "event": "slow", "server": "demo",
    "took_s": 2,
}  # fmt: skip


def test_line_for_a_person_has_time_level_server_and_fields() -> None:
    """The day and the zone are left out: a terminal is watched now."""
    assert "07:08:09.123 WARNING  [demo] slow took_s=2" == to_console(EVENT, colour=False)


@pytest.mark.parametrize("name", ["message", "output"])
def test_spoken_text_stands_for_itself(name: str) -> None:
    """What an endpoint says needs no event name in front of it."""
    event = {**EVENT, "event": name, "message": "hello"}
    assert "07:08:09.123 WARNING  [demo] hello took_s=2" == to_console(event, colour=False)


def test_further_lines_are_indented_below_the_first() -> None:
    """A text of several lines is visibly one event."""
    event = {**EVENT, "message": "one\ntwo", "traceback": "Traceback:\n  ValueError\n"}
    assert (
        "07:08:09.123 WARNING  [demo] slow one\n    | two took_s=2\n"
        "    | Traceback:\n    |   ValueError"
    ) == to_console(event, colour=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("\x1b[2J", "\\x1b[2J", id="clears the screen"),
        pytest.param("a\rb", "a\\rb", id="goes back to the start of the line"),
        pytest.param("a\tb", "a\\tb", id="tabulator"),
        pytest.param("a\x00b", "a\\x00b", id="nul"),
        pytest.param("a\u2028b", "a\\u2028b", id="line separator"),
        pytest.param("a\u202eb", "a\\u202eb", id="turns the writing direction"),
        pytest.param("a\x85b", "a\\x85b", id="next line"),
        pytest.param("é 中 \U0001f600", "é 中 \U0001f600", id="languages stay"),
    ],
)
def test_control_character_is_shown_instead_of_obeyed(text: str, expected: str) -> None:
    """No text moves the cursor, whichever field it is in."""
    in_message = to_console({**EVENT, "event": "message", "message": text}, colour=False)
    assert f"07:08:09.123 WARNING  [demo] {expected} took_s=2" == in_message
    assert to_console({**EVENT, "x": text}, colour=False).endswith(f" x={expected}")
    traceback = to_console({**EVENT, "traceback": text}, colour=False)
    assert traceback.endswith(f"\n    | {expected}")


@pytest.mark.parametrize(
    "forged", ["07:08:09.123 CRITICAL [gateway] stopped", "\x1e{}", "    | quoted"]
)
def test_forged_line_is_indented(forged: str) -> None:
    """A text that looks like a line of ours is visibly part of another."""
    event = {**EVENT, "event": "message", "message": f"x\n{forged}"}
    first, second = to_console(event, colour=False).splitlines()
    assert "07:08:09.123 WARNING  [demo] x" == first
    assert second.startswith("    | ")


@pytest.mark.parametrize("field", ["time", "level"])
def test_head_of_a_line_cannot_be_forged_either(field: str) -> None:
    """A child that writes a record by hand cannot begin a line through its level or time."""
    event = {**EVENT, field: "2024-05-06T\n07:08:09.123 CRITICAL [gateway] stopped"}
    assert 1 == len(to_console(event, colour=False).splitlines())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"level": "error"}, "\x1b[31m", id="error is red"),
        pytest.param({"level": "info"}, "", id="info is plain"),
        pytest.param({"level": "info", "color": "g"}, "\x1b[32m", id="letter"),
        pytest.param({"level": "info", "color": "yellow"}, "\x1b[33m", id="name"),
        pytest.param({"level": "info", "color": "\x1b[5m"}, "", id="no escape of one's own"),
    ],
)
def test_line_is_painted_by_colour_or_level(fields: Event, expected: str) -> None:
    """What the author asked for wins over the level's own colour."""
    line = to_console({"event": "x", **fields}, colour=True)
    assert line.startswith(expected + " ")
    assert bool(expected) is line.endswith("\x1b[0m")
    assert "\x1b" not in to_console({"event": "x", **fields}, colour=False)
