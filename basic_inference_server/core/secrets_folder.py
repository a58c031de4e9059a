"""Where secrets are kept: in the application folder, or in a folder of our own below it.

Who may write a folder may put other files in the place of those that are there, whatever their
mode. So the application folder is closed to others where it is ours, and where it is not, as on a
volume of Kubernetes, secrets stand in a folder that is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

OWN_FOLDER: Final = "private"
ADMIN_FILE: Final = "admin_token"
SECRETS: Final = (ADMIN_FILE, "tokens.json")
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class SecretsError(Exception):
    """A secret cannot be trusted, read or written; one sentence that says what to do."""


def secrets_folder(app_folder: Path) -> Path:
    """Return where this user's gateway keeps the secrets of an application folder."""
    try:
        is_ours = app_folder.stat().st_uid == os.geteuid()
    except FileNotFoundError:  # it will be ours
        is_ours = True
    return app_folder if is_ours else app_folder / OWN_FOLDER


def open_secrets_folder(app_folder: Path) -> Path:
    """Close the folder for secrets to others, make it where needed, and return it.

    Raises:
        OSError: it cannot be made.
        SecretsError: it is not ours alone, and that cannot be changed.
    """
    folder = secrets_folder(app_folder)
    if folder == app_folder:
        _close_to_others(folder)
    else:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
            _close_to_others(folder)
    check_folder(folder, os.geteuid())
    if folder != app_folder:
        _adopt(app_folder, folder)
    return folder


def _close_to_others(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a file system without modes
        folder.chmod(0o700)


def _adopt(app_folder: Path, folder: Path) -> None:
    """Take over what an earlier version has left in the folder that is not ours."""
    for name in SECRETS:
        with contextlib.suppress(OSError):
            status = (app_folder / name).lstat()
            is_sound = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            is_ours = status.st_uid == os.geteuid() and not status.st_mode & OTHERS
            if is_sound and is_ours and not (folder / name).exists():
                (app_folder / name).rename(folder / name)


def check_folder(folder: Path, owner: int) -> None:
    """Look whether others may have changed what is in a folder for secrets.

    Raises:
        SecretsError: they may, or nobody can say.
    """
    try:
        status = folder.lstat()
    except OSError as error:
        raise SecretsError(f"{folder} cannot be looked at: {error.strerror or error}.") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SecretsError(f"{folder} is no folder; move it away and start the gateway again.")
    check_owner(folder, status, owner)
    # One that we have made for nothing else is nobody else's to look at.
    closed = OTHERS if folder.name == OWN_FOLDER else WRITABLE_BY_OTHERS
    if status.st_mode & closed:
        raise SecretsError(
            f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):04o}); "
            "make sure that nobody has changed what is in it, then chmod 700."
        )


def check_file(path: Path, status: os.stat_result, owner: int) -> None:
    """Look whether others may have read or changed a secret.

    Raises:
        SecretsError: they may, or it is not the file itself.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"
        raise SecretsError(f"{path} is {kind}; put the file itself there.")
    check_owner(path, status, owner)
    if status.st_mode & OTHERS:
        raise SecretsError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}); "
            f"make sure that nobody has changed it, then chmod 600."
        )


def check_owner(path: Path, status: os.stat_result, owner: int) -> None:
    """Look whose a file or folder is.

    Raises:
        SecretsError: it is somebody else's.
    """
    if status.st_uid != owner:
        raise SecretsError(
            f"{path} belongs to user {status.st_uid} and not to user {owner}; "
            f"make sure that nobody has changed it, then chown {owner}."
        )
