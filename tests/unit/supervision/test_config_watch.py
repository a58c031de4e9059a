"""Unit tests of noticing that somebody has changed the configuration's file."""

from __future__ import annotations

from pathlib import Path

from basic_inference_server.supervision.code_watch import ConfigWatch


def test_changed_file_is_unread_once_it_has_settled(tmp_path: Path) -> None:
    """Until it has been read, by whomever and with whatever result."""
    path = tmp_path / "config.txt"
    path.write_text("{}")
    watch = ConfigWatch(path)
    assert [False, False] == [watch.is_unread() for _ in range(2)]
    path.write_text('{"A": ')
    assert [False, True, True] == [watch.is_unread() for _ in range(3)]
    path.write_text('{"A": 1}')
    assert [False, True] == [watch.is_unread() for _ in range(2)]
    watch.note_reading()
    assert [False, False] == [watch.is_unread() for _ in range(2)]


def test_file_that_is_away_is_not_read(tmp_path: Path) -> None:
    """It may be in the middle of being replaced; what replaces it is."""
    path = tmp_path / "config.txt"
    path.write_text("{}")
    watch = ConfigWatch(path)
    path.unlink()
    assert [False] * 3 == [watch.is_unread() for _ in range(3)]
    path.write_text('{"A": 1}')
    assert [False, True] == [watch.is_unread() for _ in range(2)]
    assert not ConfigWatch(None).is_unread()
