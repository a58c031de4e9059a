"""Everything of a gateway that has an address: ports, Unix sockets, files in the cache folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from basic_inference_server.core.secrets_folder import (
    ADMIN_FILE,
    SecretsError,
    check_file,
    check_owner,
    open_secrets_folder,
    secrets_folder,
)
from basic_inference_server.core.settings import EndpointSettings, GatewaySettings
from basic_inference_server.supervision.exclusive import lock_folder
from basic_inference_server.supervision.server_parts import ServerPlace
from basic_inference_server.supervision.sockets import (
    StartError,
    bind_direct_port,
    bind_tcp,
    listening_unix_socket,
    runtime_folder,
    socket_name,
    unbind,
)

CONTROL_BACKLOG = 128
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared only


@dataclass
class Places:
    """The addresses of one gateway; made before any child is started."""

    host: str
    gateway_listener: socket.socket
    control_path: Path
    control_listener: socket.socket
    admin_token_path: Path
    announcement_path: Path
    lock_fd: int
    first_server_port: int
    notice_of_secrets: str = ""
    servers: dict[str, ServerPlace] = field(default_factory=dict)
    direct_listeners: dict[str, socket.socket] = field(default_factory=dict)
    _is_announced: bool = False

    def add_server(self, signature: str, section: EndpointSettings) -> None:
        """Give a server a Unix socket, a port and a number.

        Raises:
            StartError: its port is taken; nothing is left bound.
        """
        taken = {place.cell for place in self.servers.values()}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        listener = self._bind_port(section)
        path = self.control_path.parent / socket_name(number, signature)
        self.direct_listeners[signature] = listener
        self.servers[signature] = ServerPlace(
            listener=listening_unix_socket(path, section.QUEUE_SIZE),
            socket_path=str(path),
            host=section.HOST,
            port=listener.getsockname()[1],
            cell=number,
        )

    def _bind_port(self, section: EndpointSettings) -> socket.socket:
        return bind_direct_port(section.HOST, section.PORT, self.first_server_port)

    def move_server(self, signature: str, section: EndpointSettings) -> socket.socket:
        """Give a server another port; return the old one's socket, to be closed with `unbind`.

        Raises:
            StartError: the port is taken; nothing has changed.
        """
        listener = self._bind_port(section)
        old, self.direct_listeners[signature] = self.direct_listeners[signature], listener
        port = listener.getsockname()[1]
        self.servers[signature] = replace(self.servers[signature], host=section.HOST, port=port)
        return old

    def take_back(self, signature: str, listener: socket.socket) -> None:
        """Undo `move_server`, whose result is `listener`."""
        unbind(self.direct_listeners[signature])
        self.direct_listeners[signature] = listener
        host, port = listener.getsockname()[:2]
        self.servers[signature] = replace(self.servers[signature], host=host, port=port)

    def remove_server(self, signature: str) -> None:
        """Release a server's sockets; its processes have ended."""
        unbind(self.direct_listeners.pop(signature))
        place = self.servers.pop(signature)
        place.listener.close()
        Path(place.socket_path).unlink(missing_ok=True)

    @property
    def port(self) -> int:
        """The port that the gateway really has."""
        port: int = self.gateway_listener.getsockname()[1]
        return port

    @property
    def client_host(self) -> str:
        """The address under which this machine reaches the gateway."""
        return ANY_ADDRESS.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The gateway's URL on this machine."""
        host = f"[{self.client_host}]" if ":" in self.client_host else self.client_host
        return f"http://{host}:{self.port}"

    def announce_open(self) -> None:
        """Write, once, where the open gateway is: for scripts that chose port 0."""
        if self._is_announced:
            return
        self._is_announced = True
        where: dict[str, Any] = {
            "pid": os.getpid(),
            "host": self.client_host,
            "port": self.port,
            "servers": {name: place.port for name, place in self.servers.items()},
        }
        write_atomically(self.announcement_path, json.dumps(where))

    @staticmethod
    def group_members(group: int | None) -> list[int]:
        """Return the pids of a process group."""
        members: list[int] = []
        if group is None:
            return members
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.getpgid(int(entry.name)) == group:
                        members.append(int(entry.name))
                except ProcessLookupError:
                    continue
        return members

    def clean_up(self) -> None:
        """Remove what a later start would find."""
        self.announcement_path.unlink(missing_ok=True)
        self.control_path.unlink(missing_ok=True)
        for place in self.servers.values():
            Path(place.socket_path).unlink(missing_ok=True)
        folder = self.control_path.parent
        if folder != self.announcement_path.parent:  # a folder in /tmp of our own
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file so that a reader sees the old text or the new one, never half of it."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        os.fchmod(fd, mode)  # a left-over file has kept its own
        file.write(text)
    temporary.replace(path)


def ensure_admin_token(path: Path) -> None:
    """Make the administration token at the first start; keep it afterwards.

    Raises:
        StartError: what is there is somebody else's, or no file.
    """
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        try:
            check_owner(path, status, os.geteuid())
            if stat.S_ISREG(status.st_mode):
                path.chmod(0o600)
            check_file(path, path.lstat(), os.geteuid())
        except SecretsError as error:
            raise StartError(str(error)) from error
        if status.st_size:
            return
    write_atomically(path, "bis_" + secrets.token_urlsafe(32) + "\n")


def place_for_secrets(app_folder: Path) -> tuple[Path, str]:
    """Return the folder for secrets, and what the operator has to know about it.

    Raises:
        StartError: the administration token is somebody else's.
    """
    try:
        folder = open_secrets_folder(app_folder)
    except (SecretsError, OSError) as error:
        folder = secrets_folder(app_folder)
        return folder, f"Tokens are of no use, because nothing can be kept secret here: {error}"
    ensure_admin_token(folder / ADMIN_FILE)
    if folder == app_folder:
        return folder, ""
    owner = app_folder.stat().st_uid
    return folder, f"{app_folder} belongs to user {owner}, so secrets are kept in {folder}."


def make_places(
    settings: GatewaySettings, host: str, port: int, first_server_port: int, app_folder: Path
) -> Places:
    """Take the lock, bind every port, open every Unix socket.

    Raises:
        StartError: something is taken; nothing is left bound.
    """
    try:
        app_folder.mkdir(parents=True, exist_ok=True)
        (app_folder / "run").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot make the folder {app_folder}: {error.strerror}") from error
    lock_fd = lock_folder(app_folder / "run")
    folder_of_secrets, notice = place_for_secrets(app_folder)
    folder = runtime_folder(app_folder)
    gateway_listener = bind_tcp(host, port)
    control_path = folder / "control.sock"
    announcement_path = app_folder / "run" / "gateway.json"
    announcement_path.unlink(missing_ok=True)
    places = Places(
        host=host,
        gateway_listener=gateway_listener,
        control_path=control_path,
        control_listener=listening_unix_socket(control_path, CONTROL_BACKLOG),
        admin_token_path=folder_of_secrets / ADMIN_FILE,
        announcement_path=announcement_path,
        lock_fd=lock_fd,
        first_server_port=first_server_port,
        notice_of_secrets=notice,
    )
    sections = [
        (signature, section)
        for signature, section in settings.CONFIG_ENDPOINTS.items()
        if not section.is_support_process
    ]
    for signature, section in sorted(sections, key=lambda item: item[1].DISABLED):
        places.add_server(signature, section)
    return places
