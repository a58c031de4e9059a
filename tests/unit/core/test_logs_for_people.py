"""Unit tests of what people read on a terminal, and of whose output becomes events."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import cast

import pytest

from basic_inference_server.core.logs import (
    MAX_RECORD,
    Event,
    EventLog,
    OutputRecorder,
    route_library_logging,
    to_console,
)

EVENT: Event = {
    "time": "2024-05-06T07:08:09.123Z", "level": "warning", "event": "slow", "server": "demo",
    "took_s": 2,
}  # fmt: skip


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def library_log(said: list[Event]) -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    route_library_logging(EventLog(said.append))
    yield logging.getLogger("some.library")
    root.handlers[:] = handlers
    root.setLevel(level)


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


def test_printed_lines_become_events(said: list[Event]) -> None:
    """Each line that an endpoint prints is one event, whole even when written in pieces."""
    recorder = OutputRecorder(EventLog(said.append, worker_id=2), "stdout")
    print("one", "two", file=cast("None", recorder))
    recorder.writelines(["thr", "ee\nfo"])
    assert ["one two", "three"] == [event["message"] for event in said]
    recorder.write("ur\n\n  \n")
    assert ["one two", "three", "four"] == [event["message"] for event in said]
    assert {"event": "output", "stream": "stdout", "worker_id": 2}.items() <= said[0].items()


def test_line_without_an_end_is_recorded_in_pieces(said: list[Event]) -> None:
    """A flood without a line end takes a bounded amount of memory."""
    recorder = OutputRecorder(EventLog(said.append), "stderr")
    for _ in range(9):
        recorder.write("x" * 1000)
    assert [MAX_RECORD + 1000] == [len(event["message"]) for event in said]


def test_rest_of_a_line_can_be_recorded_early(said: list[Event]) -> None:
    """What one request prints without a line end is not shown as the next one's."""
    recorder = OutputRecorder(EventLog(said.append), "stdout")
    recorder.write("first")
    recorder.end_line()
    recorder.end_line()
    recorder.write("second\n")
    assert ["first", "second"] == [event["message"] for event in said]


def test_recorder_looks_like_a_text_file(said: list[Event]) -> None:
    """Code that asks a stream about itself gets sensible answers."""
    recorder = OutputRecorder(EventLog(said.append), "stderr")
    recorder.flush()
    assert ("utf-8", False, False, 2) == (
        recorder.encoding, recorder.isatty(), recorder.closed, recorder.fileno(),
    )  # fmt: skip
    assert 1 == OutputRecorder(EventLog(said.append), "stdout").fileno()
    assert 5 == recorder.write("abc\nd")


def test_library_warning_becomes_an_event(library_log: logging.Logger, said: list[Event]) -> None:
    """What libraries say through the standard logging is said once, as an event of ours."""
    library_log.warning("disk %s is full", "sda")
    library_log.info("not shown: libraries speak from warning level on")
    (event,) = said
    assert {
        "level": "warning", "event": "library", "logger": "some.library",
        "message": "disk sda is full",
    }.items() <= event.items()  # fmt: skip


def test_library_exception_keeps_its_traceback(
    library_log: logging.Logger, said: list[Event]
) -> None:
    """A library's logged exception is readable afterwards."""
    try:
        int("no such model")
    except ValueError:
        library_log.exception("failed")
    assert "error" == said[0]["level"]
    assert said[0]["traceback"].endswith("with base 10: 'no such model'")


def test_level_of_a_librarys_own_becomes_info(
    library_log: logging.Logger, said: list[Event]
) -> None:
    """A level that we do not have is no reason to lose the line."""
    library_log.log(35, "odd")
    assert ["info"] == [event["level"] for event in said]


def test_faulty_log_call_of_a_library_never_raises(
    library_log: logging.Logger, said: list[Event]
) -> None:
    """A missing placeholder costs a readable line, as in the standard library, not a request."""
    route_library_logging(EventLog(said.append))  # without the test runner's own handler
    library_log.warning("unknown type ", 5)
    assert "unknown type " in said[0]["message"]


def test_writers_have_lines_of_their_own() -> None:
    """Halves of lines of several requests at a time do not mix; nobody's are not lost."""
    said: list[Event] = []
    writer = [0]
    recorder = OutputRecorder(EventLog(said.append), "stdout", lambda: writer[0])
    for writer[0], text in ((1, "one "), (2, "two "), (0, "nobody"), (1, "is one\n"), (2, "is")):
        recorder.write(text)
    assert ["one is one"] == [event["message"] for event in said]
    recorder.end_line()
    assert ["one is one", "two is", "nobody"] == [event["message"] for event in said]
    assert not recorder.has_partial_line
