"""Ports and Unix sockets as the supervisor binds them, and what is said when it cannot."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from basic_inference_server.gateway.ports import listen
from basic_inference_server.supervision.exclusive import lock_folder
from basic_inference_server.supervision.socket_folder import listening_unix_socket
from basic_inference_server.supervision.sockets import (
    StartError,
    bind_direct_port,
    bind_tcp,
    waiting_connections,
)

ROOT = Path(__file__).parents[3]
HOST = "127.0.0.1"
SEARCH_FROM = 20_000  # below what clients' own ports are taken from


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for one in sockets:
        one.close()


def listen_at(path: Path, backlog: int) -> socket.socket:
    listener, handle = listening_unix_socket(path, backlog)
    os.close(handle)
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1"])
def test_free_port_is_bound_and_not_yet_open(host: str, opened: list[socket.socket]) -> None:
    """The gateway decides when it lets clients in."""
    opened.append(bind_tcp(host, 0))
    port = port_of(opened[0])
    assert port > 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), 5)
    opened[0].listen(1)
    socket.create_connection((host, port), 5).close()


def test_port_can_be_bound_again_after_a_restart(opened: list[socket.socket]) -> None:
    """Connections of the last run that linger do not keep the port."""
    first = bind_tcp(HOST, 0)
    port = port_of(first)
    listen(first)
    client = socket.create_connection((HOST, port), 5)
    served, _ = first.accept()
    served.close()  # the side that closes first is the one that lingers
    client.close()
    first.close()
    opened.append(bind_tcp(HOST, port))
    listen(opened[0])
    assert port == port_of(opened[0])


def test_taken_port_is_said_with_who_has_it(opened: list[socket.socket]) -> None:
    """One line names the port, the address and the process."""
    opened.append(socket.create_server((HOST, 0)))
    port = port_of(opened[0])
    with pytest.raises(StartError) as caught:
        bind_tcp(HOST, port)
    assert (
        f"port {port} on {HOST} is in use by pid {os.getpid()}; stop that or choose another port"
    ) == str(caught.value)


def test_port_of_a_gateway_that_is_starting_is_taken() -> None:
    """Two gateways that start in the same moment do not share a port in silence."""
    program = str(ROOT / "tests" / "children" / "binds_port.py")
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, program, "0"], env=environment, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        port = first.stdout.readline().strip()
        second = subprocess.run(
            [sys.executable, program, port],
            env=environment, stderr=subprocess.PIPE, text=True, timeout=20, check=False,
        )  # fmt: skip
        first.kill()
    assert 1 == second.returncode
    assert f"port {port} on {HOST} is in use by a program that does not listen yet" in second.stderr


@pytest.mark.parametrize("reuse", [0, 1])
@pytest.mark.parametrize("theirs", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("ours", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("is_chosen", [True, False])
def test_port_is_ours_before_it_listens(
    opened: list[socket.socket], ours: str, theirs: str, reuse: int, is_chosen: bool
) -> None:
    """No other program gets it, however it binds; clients are refused until it opens."""
    opened.append(bind_direct_port(ours, None, SEARCH_FROM if is_chosen else 0))
    port = port_of(opened[0])
    opened.append(socket.socket())
    opened[1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    with pytest.raises(OSError, match="Address already in use"):
        opened[1].bind((theirs, port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), 5)
    listen(opened[0])
    socket.create_connection((HOST, port), 5).close()


def test_servers_get_ports_of_their_own(opened: list[socket.socket]) -> None:
    """None gets one that has been given out, or that another server names for itself."""
    with bind_direct_port(HOST, None, SEARCH_FROM) as unused:
        first = port_of(unused)
    opened += [bind_direct_port(HOST, None, first, {first + 1}) for _ in range(3)]
    ports = [port_of(listener) for listener in opened]
    assert 3 == len({*ports} - {first + 1})
    assert ports == sorted(ports)


def test_connections_that_nobody_accepts_are_counted(opened: list[socket.socket]) -> None:
    """Clients who wait when the gateway has to stop are lost, and that has to be known."""
    opened.append(bind_tcp(HOST, 0))
    assert 0 == waiting_connections(opened[0])
    listen(opened[0])
    opened.extend(socket.create_connection(opened[0].getsockname(), 5) for _ in range(3))
    assert 3 == waiting_connections(opened[0])


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        pytest.param("nowhere.invalid", 0, "host 'nowhere.invalid' cannot be resolved",
                     id="unknown name"),
        pytest.param("192.0.2.1", 0, "cannot listen on 192.0.2.1:0: Cannot assign requested",
                     id="another machine's address"),
        pytest.param("a\0b", 0, "host 'a\\x00b' cannot be resolved", id="nul"),
        pytest.param(HOST, -1, "port -1", id="negative port"),
        pytest.param("a..b", 0, "host 'a..b' cannot be resolved", id="no name at all"),
        pytest.param(HOST, 70_000, "port 70000", id="port out of range"),
    ],
)  # fmt: skip
def test_address_that_cannot_be_bound_is_a_start_error(host: str, port: int, expected: str) -> None:
    """The operator reads one line that names what was asked for."""
    listener = None
    try:
        with pytest.raises(StartError) as caught:
            listener = bind_tcp(host, port)
    finally:
        if listener is not None:
            listener.close()
    assert expected == str(caught.value)[: len(expected)]


def test_first_free_port_is_taken(opened: list[socket.socket]) -> None:
    """A server that names no port gets the next one that nobody has."""
    opened.append(socket.create_server((HOST, 0)))
    taken = port_of(opened[0])
    opened.append(bind_direct_port(HOST, None, taken))
    assert taken < port_of(opened[1])


def test_wanted_port_is_taken_or_nothing(opened: list[socket.socket]) -> None:
    """A server that names its port does not get another one."""
    opened.append(socket.create_server((HOST, 0)))
    with pytest.raises(StartError, match="is in use"):
        bind_direct_port(HOST, port_of(opened[0]), 5003)
    opened.append(bind_direct_port(HOST, None, 0))
    assert port_of(opened[1]) > 0


def test_address_that_cannot_be_bound_is_not_searched_for(opened: list[socket.socket]) -> None:
    """Another port would not help."""
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:5003"):
        bind_direct_port("192.0.2.1", None, 5003)


@pytest.mark.parametrize("queue_size", [1, 2, 128])
def test_unix_socket_queues_exactly_what_it_shall(
    tmp_path: Path, opened: list[socket.socket], queue_size: int
) -> None:
    """The backlog is the request queue: one more is refused at once."""
    path = tmp_path / "s.sock"
    opened.append(listen_at(path, queue_size))
    for _ in range(queue_size):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.append(client)
        client.setblocking(False)
        client.connect(str(path))
    one_more = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.append(one_more)
    one_more.setblocking(False)
    assert errno.EAGAIN == one_more.connect_ex(str(path))


def test_unix_socket_is_private_and_replaces_a_stale_one(
    tmp_path: Path, opened: list[socket.socket]
) -> None:
    """What a killed gateway left behind is no obstacle."""
    path = tmp_path / "s.sock"
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()
    opened.append(listen_at(path, 1))
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert not opened[0].getblocking()


def test_folder_has_one_gateway(tmp_path: Path) -> None:
    """The second one is told the pid of the first; a lock goes with its owner."""
    fd = lock_folder(tmp_path)
    with pytest.raises(StartError) as caught:
        lock_folder(tmp_path)
    assert f"another gateway (pid {os.getpid()}) already runs with {tmp_path}" == (
        str(caught.value)
    )
    os.close(fd)
    os.close(lock_folder(tmp_path))


def test_folder_that_cannot_be_locked_is_a_start_error(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with pytest.raises(StartError, match=r"cannot write .*nowhere/gateway\.lock: No such"):
        lock_folder(tmp_path / "nowhere")
