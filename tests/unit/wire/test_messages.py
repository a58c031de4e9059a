"""Unit tests of the messages between the supervisor and everybody else."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.wire.messages import MessageError, decode_message, encode_message

FIELDS = st.none() | st.booleans() | st.integers() | st.text()


@settings(deadline=None, max_examples=100, database=None)
@given(st.dictionaries(st.text(), FIELDS | st.lists(FIELDS, max_size=3), max_size=5))
def test_any_message_survives_its_journey_on_one_line(message: dict[str, Any]) -> None:
    """No text in a message can end its line early."""
    line = encode_message(message)
    assert b"\n" == line[-1:]
    assert b"\n" not in line[:-1]
    assert message == decode_message(line)


def test_value_of_another_type_is_written_as_text() -> None:
    """A path in a report is no reason to lose it."""
    assert {"path": "/a"} == decode_message(encode_message({"path": PurePosixPath("/a")}))


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{", b"[1]\n", b"null\n", b'"x"\n', b"\xff\n", b'{"a":1} {}\n']
)
def test_line_that_is_no_message_is_refused(line: bytes) -> None:
    """Everything but one JSON object is a message error."""
    with pytest.raises(MessageError, match="not a message"):
        decode_message(line)


@settings(deadline=None, max_examples=100, database=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_message_error(line: bytes) -> None:
    """Nothing that arrives raises anything else."""
    try:
        message = decode_message(line)
    except MessageError:
        return
    assert isinstance(message, dict)
