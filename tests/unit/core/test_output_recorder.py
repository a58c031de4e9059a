"""Unit tests of what a worker prints: whole lines, each an event, through a stream like any."""

from __future__ import annotations

from typing import cast

import pytest

from basic_inference_server.core.logs import MAX_RECORD, Event, EventLog
from basic_inference_server.core.output_recorder import OutputRecorder
from tests.support.manual_clock import ManualClock


@pytest.fixture
def said() -> list[Event]:
    return []


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


def test_recorder_can_be_used_like_any_stream(said: list[Event]) -> None:
    """What programs do with `sys.stdout` works, and leaves it as it was."""
    recorder = OutputRecorder(EventLog(said.append), "stdout")
    recorder.reconfigure(encoding="utf-8", line_buffering=True)
    assert (True, False, False) == (recorder.writable(), recorder.readable(), recorder.seekable())
    with recorder as stream:
        stream.write("one")
    recorder.close()
    recorder.write("two\n")
    assert not recorder.closed
    with pytest.raises(TypeError, match="must be str, not bytes"):
        recorder.write(b"x")  # type: ignore[arg-type]
    assert ["one", "two"] == [event["message"] for event in said]


def test_bytes_can_be_written_in_any_pieces(said: list[Event]) -> None:
    """Halves of a character wait for their other half; what is no UTF-8 is shown as it is."""
    recorder = OutputRecorder(EventLog(said.append), "stdout")
    for piece in (b"caf\xc3", bytearray(b"\xa9\n"), memoryview(b"\xff\n")):
        assert len(piece) == recorder.buffer.write(piece)
    with recorder.buffer as stream:
        stream.flush()
    recorder.buffer.write(b"on\n")
    assert (1, False, True) == (
        recorder.buffer.fileno(), recorder.buffer.isatty(), recorder.buffer.writable(),
    )  # fmt: skip
    assert ["caf\xe9", "\\xff", "on"] == [event["message"] for event in said]


def test_progress_bar_is_one_line_with_its_last_state(
    said: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a sign of life every ten seconds while it goes on."""
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.core.output_recorder.monotonic_s", clock)
    recorder = OutputRecorder(EventLog(said.append), "stderr")
    clock.advance(60)
    for percent in range(101):
        recorder.write(f"\r{percent}%|{'#' * 50}|")
        clock.advance(0.25)
    assert ["39%", "79%"] == [event["message"][:3] for event in said]
    recorder.write("\n")
    assert f"[...] 100%|{'#' * 50}|" == said[2]["message"]
    assert 3 == len(said)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("user \rroot\n", "user \rroot"),
        ("user \r\r\rroot logged in\n", "user  [...] root logged in"),
        ("ends like in DOS\r\n", "ends like in DOS"),
    ],
)
def test_text_cannot_wipe_out_what_is_printed_before_it(
    said: list[Event], printed: str, shown: str
) -> None:
    """A caller's text that an endpoint prints may hold a carriage return."""
    recorder = OutputRecorder(EventLog(said.append), "stdout")
    recorder.write(printed)
    assert [shown] == [event["message"] for event in said]


def test_forked_child_forgets_what_its_parent_has_begun(said: list[Event]) -> None:
    """A line without an end is printed once, by whoever has begun it."""
    recorder = OutputRecorder(EventLog(said.append), "stdout")
    recorder.write("begun")
    recorder.buffer.write(b"\xc3")
    recorder.forget()
    recorder.buffer.write(b"new\n")
    assert ["new"] == [event["message"] for event in said]
