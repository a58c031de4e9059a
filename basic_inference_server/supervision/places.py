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
from basic_inference_server.supervision.server_parts import ServerPlace
from basic_inference_server.supervision.socket_folder import ANNOUNCEMENT, SocketFolder, socket_name
from basic_inference_server.supervision.sockets import (
    StartError,
    bind_direct_port,
    bind_tcp,
    waiting_connections,
)

CONTROL_BACKLOG = 128
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared only


@dataclass(frozen=True)
class Left:
    """The port that a server had before it was moved."""

    listener: socket.socket
    place: ServerPlace


@dataclass
class Places:
    """The addresses of one gateway; made before any child is started.

    `chosen_ports` are those that sections of the configuration name: no other server gets them.
    """

    host: str
    gateway_listener: socket.socket
    folder: SocketFolder
    control_path: str
    control_listener: socket.socket
    admin_token_path: Path
    announcement_path: Path
    first_server_port: int
    chosen_ports: frozenset[int] = frozenset()
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
        listener = self._bind_port(signature, section)
        try:
            named = self.folder.listen(socket_name(number, signature), section.QUEUE_SIZE)
        except StartError:
            listener.close()
            raise
        self.direct_listeners[signature] = listener
        self.servers[signature] = ServerPlace(
            listener=named.listener,
            socket_path=named.path,
            socket_link=named.link,
            host=section.HOST,
            port=listener.getsockname()[1],
            cell=number,
        )

    def _bind_port(self, signature: str, section: EndpointSettings) -> socket.socket:
        owners = {port: name for port, name in self._owners_of_ports() if name != signature}
        if section.PORT in owners:
            raise StartError(
                f"port {section.PORT} of {signature} is already that of "
                f"{owners[section.PORT] or 'the gateway itself'}; choose another PORT"
            )
        avoided = self.chosen_ports | owners.keys()
        return bind_direct_port(section.HOST, section.PORT, self.first_server_port, avoided)

    def _owners_of_ports(self) -> list[tuple[int, str]]:
        """Return every port that is ours, and the endpoint that has it: none for the gateway's."""
        return [(self.port, ""), *((place.port, name) for name, place in self.servers.items())]

    def move_server(self, signature: str, section: EndpointSettings) -> Left:
        """Give a server another port; return the old one, to be closed when nobody serves it.

        Raises:
            StartError: the port is taken; nothing has changed.
        """
        listener = self._bind_port(signature, section)
        left = Left(self.direct_listeners[signature], self.servers[signature])
        self.direct_listeners[signature] = listener
        port = listener.getsockname()[1]
        self.servers[signature] = replace(left.place, host=section.HOST, port=port)
        return left

    def take_back(self, signature: str, left: Left) -> None:
        """Undo `move_server`, whose result is `left`."""
        self.direct_listeners[signature].close()
        self.direct_listeners[signature] = left.listener
        self.servers[signature] = left.place

    def remove_server(self, signature: str) -> None:
        """Release a server's sockets; its processes have ended."""
        self.direct_listeners.pop(signature).close()
        place = self.servers.pop(signature)
        self.folder.remove(socket_name(place.cell, signature))

    def waiting_connections(self) -> int:
        """Return how many clients have connected to our ports and are not accepted yet."""
        return sum(map(waiting_connections, self._tcp_listeners))

    def close_ports(self) -> None:
        """Close our copies of the ports; clients are refused when the gateway's are closed too."""
        for listener in self._tcp_listeners:
            listener.close()

    @property
    def _tcp_listeners(self) -> list[socket.socket]:
        return [self.gateway_listener, *self.direct_listeners.values()]

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
        if not self._is_announced:
            self._is_announced = True
            self._announce()

    def _announce(self) -> None:
        where: dict[str, Any] = {
            "pid": os.getpid(),
            "host": self.client_host,
            "port": self.port,
            "servers": {name: place.port for name, place in self.servers.items()},
        }
        write_atomically(self.announcement_path, json.dumps(where))

    def restore(self) -> list[str]:
        """Make again what is missing of the application folder; return the names of it.

        Raises:
            StartError: another gateway has the folder now, or it cannot be made.
            OSError: a file cannot be made.
        """
        restored = self.folder.restore()
        if restored and not self.admin_token_path.exists():
            place_for_secrets(self.folder.path.parent)
            restored.append(self.admin_token_path.name)
        if self._is_announced and not self.announcement_path.exists():
            self._announce()
            restored.append(self.announcement_path.name)
        return restored

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
        self.folder.clean_up()


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
    except OSError as error:
        raise StartError(f"cannot make the folder {app_folder}: {error.strerror}") from error
    folder = SocketFolder(app_folder)
    try:
        folder_of_secrets, notice = place_for_secrets(app_folder)
    except OSError as error:
        raise StartError(
            f"cannot keep the administration token in {app_folder}: {error.strerror}; it has to "
            "belong to the user who starts the gateway, or go: then a new one is made"
        ) from error
    gateway_listener = bind_tcp(host, port)
    announcement_path = folder.path / ANNOUNCEMENT
    announcement_path.unlink(missing_ok=True)
    control = folder.listen("control.sock", CONTROL_BACKLOG)
    places = Places(
        host=host,
        gateway_listener=gateway_listener,
        folder=folder,
        control_path=control.path,
        control_listener=control.listener,
        admin_token_path=folder_of_secrets / ADMIN_FILE,
        announcement_path=announcement_path,
        first_server_port=first_server_port,
        chosen_ports=frozenset(settings.own_ports().values()),
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
