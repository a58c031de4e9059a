"""Unit tests of the files that a gateway leaves: whole, private, made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from basic_inference_server.supervision.places import (
    Places,
    ensure_admin_token,
    place_for_secrets,
    write_atomically,
)
from basic_inference_server.supervision.sockets import StartError
from tests.support.users import ANOTHER_USER, another_user, needs_root


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader that has the old file open reads the old text to its end."""
    path = tmp_path / "file"
    write_atomically(path, "old text")
    with path.open() as reader:
        write_atomically(path, "new")
        assert "old text" == reader.read()
    assert "new" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """A secret is private from its first byte, whatever the umask says."""
    umask = os.umask(0)
    try:
        write_atomically(tmp_path / "file", "secret")
    finally:
        os.umask(umask)
    assert 0o600 == mode_of(tmp_path / "file")


def test_file_is_private_even_beside_a_left_over_one(tmp_path: Path) -> None:
    """A start that was killed half-way leaves a file that must not be trusted."""
    (tmp_path / "file.new").write_text("")
    (tmp_path / "file.new").chmod(0o666)
    write_atomically(tmp_path / "file", "secret")
    assert 0o600 == mode_of(tmp_path / "file")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A text that cannot be written does not cost the one that is there."""
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert "old" == path.read_text()


def test_admin_token_is_made_at_the_first_start(tmp_path: Path) -> None:
    """It is long, recognisable and private."""
    path = tmp_path / "admin_token"
    ensure_admin_token(path)
    token = path.read_text()
    assert token.startswith("bis_")
    assert 48 <= len(token)
    assert "\n" == token[-1]
    assert 0o600 == mode_of(path)


def test_admin_token_is_kept_afterwards(tmp_path: Path) -> None:
    """A restart does not lock out who has the token; a mode that was opened is closed."""
    path = tmp_path / "admin_token"
    path.write_text("mine\n")
    path.chmod(0o644)
    ensure_admin_token(path)
    assert ("mine\n", 0o600) == (path.read_text(), mode_of(path))


def test_empty_admin_token_is_replaced(tmp_path: Path) -> None:
    """A file that a full disk left empty would let nobody in."""
    path = tmp_path / "admin_token"
    path.write_text("")
    ensure_admin_token(path)
    assert path.read_text().startswith("bis_")


@needs_root
def test_admin_token_of_another_user_ends_the_start(tmp_path: Path) -> None:
    """The one line says whose it is and what to do."""
    path = tmp_path / "admin_token"
    path.write_text("theirs\n")
    os.chown(path, ANOTHER_USER, 0)
    with pytest.raises(StartError, match=f"admin_token belongs to user {ANOTHER_USER}"):
        ensure_admin_token(path)


@needs_root
def test_nobody_else_replaces_the_token_whatever_the_umask(tmp_path: Path) -> None:
    """Who may write the folder could put a file of its own there."""
    tmp_path.chmod(0o755)
    umask = os.umask(0)
    try:
        (tmp_path / "cache").mkdir()
        assert (tmp_path / "cache", "") == place_for_secrets(tmp_path / "cache")
    finally:
        os.umask(umask)
    assert 0o700 == mode_of(tmp_path / "cache")
    folder = os.open(tmp_path, os.O_RDONLY)  # the way to it may be closed to others as well
    try:
        with another_user(), pytest.raises(PermissionError):
            os.rename("cache/x", "cache/admin_token", src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def test_folder_where_the_token_should_be_ends_the_start(tmp_path: Path) -> None:
    """Nothing is put beside it in silence."""
    (tmp_path / "admin_token").mkdir()
    with pytest.raises(StartError, match="admin_token is no regular file"):
        ensure_admin_token(tmp_path / "admin_token")


def test_two_gateways_have_two_tokens(tmp_path: Path) -> None:
    """A token is random."""
    ensure_admin_token(tmp_path / "one")
    ensure_admin_token(tmp_path / "two")
    assert (tmp_path / "one").read_text() != (tmp_path / "two").read_text()


def test_members_of_a_group_are_found() -> None:
    """A process belongs to its own group, and no group has no members."""
    assert os.getpid() in Places.group_members(os.getpgrp())
    assert [] == Places.group_members(None)
