"""Unit tests of the folder for secrets: ours, and closed to others."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from basic_inference_server.core.secrets_folder import (
    SecretsError,
    check_file,
    check_folder,
    open_secrets_folder,
    secrets_folder,
)
from tests.support.secret_files import write_secret
from tests.support.users import ANOTHER_USER, needs_root


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """An application folder as a volume of Kubernetes: root's or anybody's, and open to all."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    os.chown(folder, ANOTHER_USER, 0)
    return folder


def test_own_folder_is_closed(tmp_path: Path) -> None:
    """However it was made, and also when it has been opened since."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for mode in (0o777, 0o755, 0o700):
        folder.chmod(mode)
        assert folder == open_secrets_folder(folder)
        assert 0o700 == mode_of(folder)


def test_folder_that_is_not_there_will_be_ours(tmp_path: Path) -> None:
    """The command line may come before the first start."""
    assert tmp_path / "cache" == secrets_folder(tmp_path / "cache")


@needs_root
def test_folder_of_somebody_else_gets_one_of_ours(foreign: Path) -> None:
    """Closed whatever the umask; the other one is left as it is."""
    umask = os.umask(0)
    try:
        assert foreign / "private" == open_secrets_folder(foreign)
    finally:
        os.umask(umask)
    assert (0o700, os.geteuid()) == (
        mode_of(foreign / "private"), (foreign / "private").stat().st_uid
    )  # fmt: skip
    assert 0o777 == mode_of(foreign)
    assert foreign / "private" == secrets_folder(foreign)


@needs_root
def test_secrets_of_an_earlier_version_move_if_only_we_can_have_written_them(
    foreign: Path,
) -> None:
    """Nobody is locked out by an update, and nobody is let in by it."""
    write_secret(foreign / "admin_token", "bis_ours")
    write_secret(foreign / "tokens.json", "theirs")
    os.chown(foreign / "tokens.json", ANOTHER_USER, 0)
    open_secrets_folder(foreign)
    assert "bis_ours" == (foreign / "private" / "admin_token").read_text()
    assert ["admin_token"] == [path.name for path in (foreign / "private").iterdir()]
    write_secret(foreign / "admin_token", "bis_other")
    open_secrets_folder(foreign)
    assert "bis_ours" == (foreign / "private" / "admin_token").read_text()


def theirs(path: Path) -> None:
    path.mkdir(mode=0o700)
    os.chown(path, ANOTHER_USER, 0)


def link(path: Path) -> None:
    path.with_name("elsewhere").mkdir(mode=0o700)
    path.symlink_to("elsewhere")


@needs_root
@pytest.mark.parametrize(
    ("make", "reason"),
    [(theirs, f"belongs to user {ANOTHER_USER}"), (link, "is no folder")],
)
def test_folder_that_others_have_made_is_not_used(
    foreign: Path, make: Callable[[Path], None], reason: str
) -> None:
    """Who may write the outer folder may put one of their own there, or a link."""
    make(foreign / "private")
    with pytest.raises(SecretsError, match=reason):
        open_secrets_folder(foreign)


def test_folder_that_others_may_write_is_not_trusted(tmp_path: Path) -> None:
    """They may have put another file there; who may only look cannot."""
    for mode in (0o700, 0o750, 0o755):
        tmp_path.chmod(mode)
        check_folder(tmp_path, os.geteuid())
    for mode in (0o720, 0o702, 0o777):
        tmp_path.chmod(mode)
        with pytest.raises(SecretsError, match=rf"open to others \(mode {mode:04o}\).*chmod 700"):
            check_folder(tmp_path, os.geteuid())
    with pytest.raises(SecretsError, match="belongs to user"):
        check_folder(tmp_path, os.geteuid() + 1)


def test_folder_of_our_own_is_for_nobody_else(tmp_path: Path) -> None:
    """It was made with 0700; whatever opened it was not us."""
    folder = tmp_path / "private"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(SecretsError, match="open to others"):
        check_folder(folder, os.geteuid())


def test_file_that_is_not_ours_alone_is_not_trusted(tmp_path: Path) -> None:
    """It has to be ours, closed, and the file itself."""
    path = tmp_path / "secret"
    write_secret(path, "x")
    check_file(path, path.lstat(), os.geteuid())
    with pytest.raises(SecretsError, match=r"belongs to user .*then chown"):
        check_file(path, path.lstat(), os.geteuid() + 1)
    path.chmod(0o640)
    with pytest.raises(SecretsError, match=r"mode 0640.*chmod 600"):
        check_file(path, path.lstat(), os.geteuid())
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(SecretsError, match="symbolic link"):
        check_file(tmp_path / "link", (tmp_path / "link").lstat(), os.geteuid())
