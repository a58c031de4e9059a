"""Unit tests of the standard library's logging as events: levels, fields, and faulty calls."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from basic_inference_server.core.library_logging import route_library_logging
from basic_inference_server.core.logs import Event, EventLog


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


def test_level_of_a_librarys_own_becomes_the_one_below(
    library_log: logging.Logger, said: list[Event]
) -> None:
    """A level that we do not have is no reason to lose the line."""
    library_log.log(35, "odd")
    library_log.log(99, "odder")
    assert ["warning", "critical"] == [event["level"] for event in said]


def test_faulty_log_call_of_a_library_never_raises(
    library_log: logging.Logger, said: list[Event]
) -> None:
    """A missing placeholder costs a readable line, as in the standard library, not a request."""
    route_library_logging(EventLog(said.append))  # without the test runner's own handler
    library_log.warning("unknown type ", 5)
    assert "unknown type " in said[0]["message"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["d", "i", "w", "e"]), ("info", ["i", "w", "e"]), ("error", ["e"])],
)
def test_log_calls_follow_the_level(
    library_log: logging.Logger, said: list[Event], level: str, expected: list[str]
) -> None:
    """`logging.info` in an endpoint appears where our own events of that level do."""
    route_library_logging(EventLog(said.append, level), level)
    library_log.debug("d")
    logging.info("i")  # noqa: LOG015 - as authors write it
    library_log.warning("w")
    library_log.error("e")
    assert expected == [event["message"] for event in said]


def test_extra_becomes_fields(library_log: logging.Logger, said: list[Event]) -> None:
    """As they are; those that would pass for ours are told apart from them."""
    extra = {"order": 7, "event": "stopped", "level": "critical", "self": 1, "server": "x"}
    library_log.warning("paid", extra=extra, stack_info=True)
    (event,) = said
    assert {
        "event": "library", "level": "warning", "message": "paid", "order": 7, "self": 1,
        "extra_event": "stopped", "extra_level": "critical", "extra_server": "x",
    }.items() <= event.items()  # fmt: skip
    assert "server" not in event
    assert event["stack"].startswith("Stack (most recent call last)")


class Unshowable:
    def __str__(self) -> str:
        raise KeyError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments", "error"),
    [
        ("%d", ("five",), "TypeError"),
        ("%(name)s", ({"other": 1},), "KeyError"),
        ("%s", (Unshowable(),), "KeyError"),
        (Unshowable(), (), "KeyError"),
    ],
)
def test_faulty_arguments_never_raise(
    library_log: logging.Logger, said: list[Event], message: object, arguments: tuple[object, ...],
    error: str,
) -> None:  # fmt: skip
    """Whatever they are; the line says what was wrong with them."""
    route_library_logging(EventLog(said.append))  # without the test runner's own handler
    library_log.warning(message, *arguments)
    assert said[0]["logging_error"].startswith(error)
