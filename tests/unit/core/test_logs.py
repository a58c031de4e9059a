"""Unit tests of structured logs: one event is one bounded line that nothing in it can forge."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.logs import (
    KEPT_RECORDS,
    LOG_MARK_VARIABLE,
    MAX_RECORD,
    RECORD_MARK,
    Event,
    EventLog,
    RecordWriter,
    process_sink,
    renderer,
    to_bounded_line,
    to_line,
)
from tests.support.processes import open_descriptors

HOSTILE = 'done\n\x1e{"event":"stopped","level":"critical"}\r\n\x1b[2J\x00\u2028\u202e"\\'
LONG_TEXTS = st.builds(
    lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(0, 6000)
)
VALUES = (
    LONG_TEXTS
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.booleans()
    | st.lists(st.text(max_size=50), max_size=50)
    | st.dictionaries(st.text(max_size=5), LONG_TEXTS, max_size=3)
)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def read_records(read_end: int) -> list[Event]:
    raw = b""
    while True:
        try:
            raw += os.read(read_end, 65536)
        except BlockingIOError:
            break
    return [json.loads(line.removeprefix(RECORD_MARK)) for line in raw.splitlines()]


def test_event_carries_time_level_name_and_fields() -> None:
    """The fixed fields come first, then those of the log's owner, then the event's own."""
    said: list[Event] = []
    EventLog(said.append, server="demo").bind(worker_id=3).warning("slow", took_s=1.5)
    (event,) = said
    assert ["time", "level", "event", "server", "worker_id", "took_s"] == list(event)
    assert ("warning", "slow", "demo", 3, 1.5) == tuple(event.values())[1:]


def test_field_without_a_value_is_left_out() -> None:
    """`None` says nothing, while 0, false and an empty text do."""
    said: list[Event] = []
    EventLog(said.append).info("x", nothing=None, zero=0, false=False, empty="")
    assert {"zero": 0, "false": False, "empty": ""}.items() <= said[0].items()
    assert "nothing" not in said[0]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error", "critical"]),
        ("info", ["info", "warning", "error", "critical"]),
        ("warning", ["warning", "error", "critical"]),
        ("error", ["error", "critical"]),
    ],
)
def test_log_writes_its_level_and_above(level: str, expected: list[str]) -> None:
    """A threshold holds for a bound log as well."""
    said: list[Event] = []
    log = EventLog(said.append, level).bind(server="demo")
    for method in (log.debug, log.info, log.warning, log.error, log.critical):
        method("x")
    assert expected == [event["level"] for event in said]
    assert log.is_enabled("critical")
    assert ("debug" in expected) is log.is_enabled("debug")


@settings(deadline=None, max_examples=60, database=None)
@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=4))
def test_any_event_is_one_line_of_ascii_json(event: Event) -> None:
    """No text, in whatever language or with whatever control character, breaks out of its line."""
    line = to_line(event)
    assert 1 == len(line.decode("ascii").splitlines())
    assert event.keys() == json.loads(line).keys()


@settings(deadline=None, max_examples=120, database=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=5))
def test_record_is_bounded_whatever_its_fields_hold(fields: dict[str, Any]) -> None:
    """A write below the pipe's atomic size never mixes with another worker's."""
    event = {"time": "2024-01-01T00:00:00.000Z", "level": "info", "event": "x", **fields}
    line = to_bounded_line(event)
    assert len(line) <= MAX_RECORD
    assert {"time", "level", "event"} <= json.loads(line).keys()


def test_record_of_many_wide_fields_is_bounded_too() -> None:
    """Twelve short texts of characters that need twelve bytes each are not short in all."""
    assert len(to_bounded_line({f"field{n}": "\U0001f600" * 50 for n in range(40)})) <= MAX_RECORD


class Unshowable:
    def __str__(self) -> str:
        raise KeyError("no text")

    __repr__ = __str__


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Unshowable(), "<Unshowable that cannot be shown>"),
        ({"x": [Unshowable()]}, {"x": ["<Unshowable that cannot be shown>"]}),
        (CIRCLE, "[[...]]"),
        ({(1, 2): "x"}, "{(1, 2): 'x'}"),
        (
            {
                1,
            },
            "{1}",
        ),
    ],
)
def test_value_of_any_class_can_be_said(value: Any, shown: Any) -> None:
    """What an endpoint hands to a log call never fails the request."""
    assert {"event": "x", "value": shown} == json.loads(
        to_bounded_line({"event": "x", "value": value})
    )


def test_short_record_is_left_alone() -> None:
    """Only what is too long is cut."""
    event = {"event": "x", "message": "m" * 3000}
    assert event == json.loads(to_bounded_line(event))


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    """A traceback's last line matters as much as its first."""
    message = "first" + "x" * 100_000 + "last"
    record = json.loads(to_bounded_line({"event": "x", "message": message, "pid": 42}))
    assert ("x", 42) == (record["event"], record["pid"])
    assert record["message"].startswith("firstxx")
    assert record["message"].endswith("xxlast")
    assert " [...] " in record["message"]


def test_record_of_hostile_text_is_one_line(pipe: tuple[int, int]) -> None:
    """A message that holds a whole record of its own stays a message."""
    read_end, write_end = pipe
    EventLog(RecordWriter(write_end)).info("message", message=HOSTILE)
    (record,) = read_records(read_end)
    assert ("message", HOSTILE) == (record["event"], record["message"])


def test_record_begins_with_the_mark(pipe: tuple[int, int]) -> None:
    """The mark tells the reader our records from whatever else a child prints."""
    read_end, write_end = pipe
    RecordWriter(write_end)({"event": "x"})
    assert b'\x1e{"event":"x"}\n' == os.read(read_end, 100)


def test_record_of_a_supervised_process_begins_with_its_secret(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who was started by the supervisor can write what it takes for a record."""
    read_end, write_end = pipe
    monkeypatch.setenv(LOG_MARK_VARIABLE, "s3cret")
    RecordWriter(write_end)({"event": "x"})
    assert b'\x1es3cret{"event":"x"}\n' == os.read(read_end, 100)


def test_writers_of_one_pipe_share_its_description(pipe: tuple[int, int]) -> None:
    """An endpoint may make a logger for each request."""
    read_end, write_end = pipe
    RecordWriter(write_end).open()
    before = open_descriptors(os.getpid())
    for number in range(20):
        RecordWriter(write_end)({"event": f"event-{number}"})
    assert before == open_descriptors(os.getpid())
    assert 20 == len(read_records(read_end))


def test_full_pipe_drops_and_counts_what_was_printed(pipe: tuple[int, int]) -> None:
    """A reader that sleeps costs lines, not time; their number is said with the next record."""
    read_end, write_end = pipe
    write = RecordWriter(write_end)
    count = 0
    while not write.dropped:
        write({"event": "output", "number": count, "padding": "p" * 1000})
        count += 1
    write({"event": "output", "padding": "lost as well" * 100})
    assert 2 == write.dropped
    assert list(range(count - 1)) == [record["number"] for record in read_records(read_end)]
    write({"event": "after"})
    write({"event": "later"})
    assert [{"event": "after", "records_dropped_before": 2}, {"event": "later"}] == (
        read_records(read_end)
    )


def fill(write: RecordWriter) -> None:
    """Print until the pipe is full, to the last bytes."""
    for padding in ("p" * 3000, ""):
        write.dropped = 0
        while not write.dropped:
            write({"event": "output", "padding": padding})
    write.dropped = 0


def test_full_pipe_keeps_our_own_events_for_later(pipe: tuple[int, int]) -> None:
    """What explains a flood comes through in its order, as soon as there is room."""
    read_end, write_end = pipe
    write = RecordWriter(write_end)
    fill(write)
    for number in range(3):
        write({"event": "request_failed", "number": number})
    assert not write.flush()
    read_records(read_end)
    write({"event": "later"})
    assert [
        ("request_failed", 0),
        ("request_failed", 1),
        ("request_failed", 2),
        ("later", None),
    ] == [(record["event"], record.get("number")) for record in read_records(read_end)]
    assert write.flush()


def test_full_pipe_keeps_the_newest_of_our_events(pipe: tuple[int, int]) -> None:
    """Memory is bounded, and what was lost is counted."""
    read_end, write_end = pipe
    write = RecordWriter(write_end)
    fill(write)
    for number in range(KEPT_RECORDS + 5):
        write({"event": "request_failed", "number": number})
    assert 5 == write.dropped
    read_records(read_end)
    assert write.flush()
    assert list(range(5, KEPT_RECORDS + 5)) == [
        record["number"] for record in read_records(read_end)
    ]


def test_closed_descriptor_is_no_error() -> None:
    """Writing a log line never raises, even when nobody can ever read it."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    write = RecordWriter(write_end)
    write({"event": "output"})
    write({"event": "x"})
    os.close(write_end)
    assert 1 == write.dropped


def test_supervised_process_writes_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a supervisor a process writes records, alone it writes lines for people."""
    monkeypatch.setenv("BIS_SUPERVISED", "1")
    assert isinstance(process_sink(), RecordWriter)


def test_process_of_its_own_writes_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a supervisor events go to standard output in the wanted form."""
    monkeypatch.delenv("BIS_SUPERVISED", raising=False)
    monkeypatch.setenv("BIS_LOG_FORMAT", "json")
    EventLog(process_sink()).info("started", port=1)
    assert {"event": "started", "port": 1}.items() <= json.loads(capsys.readouterr().out).items()


def test_output_that_is_no_terminal_gets_json_by_itself() -> None:
    """`auto` is for people on a terminal and for programs elsewhere."""
    event = {"event": "x", "message": "é\n"}
    assert '{"event":"x","message":"\\u00e9\\n"}' == renderer("auto")(event)
    assert renderer("auto")(event) == renderer("json")(event)
    assert "\n    | " in renderer("console")(event)
