"""The folder of a gateway's Unix sockets and of its lock; what is removed there is brought back.

A socket goes on listening when its name is gone. Its descriptor here, which is open for the path
only, leads to it through `/proc` as long as we live, for every process of our user.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from basic_inference_server.supervision.exclusive import announce_stop, lock_folder
from basic_inference_server.supervision.sockets import StartError

MAX_UNIX_PATH = 107
ANNOUNCEMENT = "gateway.json"


@dataclass(frozen=True)
class NamedSocket:
    """A listening socket with a name in the folder.

    Attributes:
        handle: the descriptor that stands for its place in the file system.
        path: where to connect.
        link: where to connect when there is nothing at `path`.
    """

    listener: socket.socket
    handle: int
    path: str
    link: str


class SocketFolder:
    """The folder `run` of an application folder; one gateway has it at a time."""

    def __init__(self, app_folder: Path) -> None:
        """Make the folder and take its lock.

        Raises:
            StartError: another gateway has it, it belongs to somebody else, or cannot be made.
        """
        self.path = app_folder / "run"
        self._make()
        self._lock_fd = lock_folder(self.path)
        self._sockets: dict[str, NamedSocket] = {}
        for stale in self.path.glob("*.sock"):  # a killed gateway has left them
            stale.unlink()
        self._seen = self._look()

    def _make(self) -> None:
        folder = self.path
        try:
            for one in (folder.parent, folder):
                one.mkdir(mode=0o700, parents=True, exist_ok=True)
            details = folder.lstat()
            if details.st_uid != os.geteuid() or not stat.S_ISDIR(details.st_mode):
                raise StartError(f"{folder} belongs to somebody else")
            folder.chmod(0o700)
        except OSError as error:
            raise StartError(f"cannot make the folder {folder}: {error.strerror}") from error

    def listen(self, name: str, backlog: int) -> NamedSocket:
        """Return a socket that listens under that name; its backlog is the request queue.

        Raises:
            StartError: it cannot be made.
        """
        path = self.path / name
        try:
            listener, handle = listening_unix_socket(path, backlog)
        except OSError as error:
            raise StartError(f"cannot make the socket {path}: {error.strerror}") from error
        # Not the pid that we know ourselves by: /proc may be that of another pid namespace.
        link = f"/proc/{Path('/proc/self').readlink()}/fd/{handle}"
        is_long = len(os.fsencode(path)) > MAX_UNIX_PATH
        self._sockets[name] = NamedSocket(listener, handle, link if is_long else str(path), link)
        return self._sockets[name]

    def remove(self, name: str) -> None:
        """Close a socket and remove its name."""
        named = self._sockets.pop(name)
        named.listener.close()
        os.close(named.handle)
        (self.path / name).unlink(missing_ok=True)

    def clean_up(self) -> None:
        """Remove the names; the sockets go with the process."""
        for name in (*self._sockets, ANNOUNCEMENT):
            with contextlib.suppress(OSError):  # it, or its folder, is gone
                (self.path / name).unlink()

    def announce_stop(self, within_s: float) -> None:
        """Let the next gateway wait for the folder instead of giving up."""
        announce_stop(self._lock_fd, within_s)

    def close(self) -> None:
        """Close every socket and give up the lock."""
        for name in list(self._sockets):
            self.remove(name)
        os.close(self._lock_fd)

    def has_changed(self) -> bool:
        """Say whether something was made or removed in the folder since the last look."""
        return self._look() != self._seen

    def _look(self) -> tuple[int, ...] | None:
        try:
            details = self.path.stat()
        except OSError:
            return None
        return details.st_dev, details.st_ino, details.st_mode, details.st_ctime_ns

    def restore(self) -> list[str]:
        """Make again what is missing; return the names of it.

        Raises:
            StartError: that is not possible, or another gateway has the folder now.
            OSError: a name cannot be made.
        """
        restored = []
        if self._look() is None:
            restored.append(self.path.name)
        self._make()
        if _identity(self.path / "gateway.lock") != _identity(self._lock_fd):
            lock_fd = lock_folder(self.path)
            os.close(self._lock_fd)
            self._lock_fd = lock_fd
            restored.append("gateway.lock")
        for name, named in self._sockets.items():
            path = self.path / name
            if _identity(path) != _identity(named.handle):
                path.unlink(missing_ok=True)
                path.symlink_to(named.link)
                restored.append(name)
        self._seen = self._look()
        return restored


def _identity(what: Path | int) -> tuple[int, int] | None:
    try:
        details = os.stat(what)  # noqa: PTH116 - of a descriptor, too
    except OSError:
        return None
    return details.st_dev, details.st_ino


def listening_unix_socket(path: Path, backlog: int) -> tuple[socket.socket, int]:
    """Return a non-blocking Unix socket that listens, and a descriptor for its path.

    The kernel queues one connection more than the backlog says.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listener, path)
        path.chmod(0o600)
        listener.listen(backlog - 1)
        listener.setblocking(False)
        return listener, os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        listener.close()
        raise


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind to a path of any length."""
    if len(os.fsencode(path)) <= MAX_UNIX_PATH:
        listener.bind(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def socket_name(number: int, signature: str) -> str:
    """Return a short file name for a signature of any length."""
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", signature)[:24]
    return f"{number:03d}-{readable}.sock"
