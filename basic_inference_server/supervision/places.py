"""Everything of a gateway that has an address: ports, Unix sockets, files in the cache folder."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from basic_inference_server.core.settings import EndpointSettings, GatewaySettings
from basic_inference_server.supervision.server_parts import ServerPlace
from basic_inference_server.supervision.socket_folder import ANNOUNCEMENT, SocketFolder, socket_name
from basic_inference_server.supervision.sockets import (
    StartError,
    bind_direct_port,
    bind_tcp,
    unbind,
)

CONTROL_BACKLOG = 128
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared only


@dataclass
class Places:
    """The addresses of one gateway; made before any child is started."""

    host: str
    gateway_listener: socket.socket
    folder: SocketFolder
    control_path: str
    control_listener: socket.socket
    admin_token_path: Path
    announcement_path: Path
    first_server_port: int
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
        try:
            named = self.folder.listen(socket_name(number, signature), section.QUEUE_SIZE)
        except StartError:
            unbind(listener)
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
        self.folder.remove(socket_name(place.cell, signature))

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
            ensure_admin_token(self.admin_token_path)
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
    """Make the administration token at the first start; keep it afterwards."""
    if path.exists() and path.stat().st_size:
        path.chmod(0o600)
        return
    write_atomically(path, "bis_" + secrets.token_urlsafe(32) + "\n")


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
    gateway_listener = bind_tcp(host, port)
    token_path = app_folder / "admin_token"
    try:
        ensure_admin_token(token_path)
    except OSError as error:
        raise StartError(
            f"cannot keep the administration token in {token_path}: {error.strerror}; it has to "
            "belong to the user who starts the gateway, or go: then a new one is made"
        ) from error
    announcement_path = folder.path / ANNOUNCEMENT
    announcement_path.unlink(missing_ok=True)
    control = folder.listen("control.sock", CONTROL_BACKLOG)
    places = Places(
        host=host,
        gateway_listener=gateway_listener,
        folder=folder,
        control_path=control.path,
        control_listener=control.listener,
        admin_token_path=token_path,
        announcement_path=announcement_path,
        first_server_port=first_server_port,
    )
    sections = [
        (signature, section)
        for signature, section in settings.CONFIG_ENDPOINTS.items()
        if not section.is_support_process
    ]
    for signature, section in sorted(sections, key=lambda item: item[1].DISABLED):
        places.add_server(signature, section)
    return places
