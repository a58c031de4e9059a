"""Integration tests of whose a connection is: real sockets, of this user and of another."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from basic_inference_server.gateway import peer_owner
from basic_inference_server.gateway.peer_owner import Peer, owner_of
from tests.support.eventually import eventually
from tests.support.users import ANOTHER_USER, another_user, needs_root

IPV4, IPV6 = socket.AF_INET, socket.AF_INET6
# The family and address that the server listens on, and those that its client connects with.
PATHS = [
    pytest.param(IPV4, "127.0.0.1", IPV4, "127.0.0.1", id="IPv4"),
    pytest.param(IPV6, "::1", IPV6, "::1", id="IPv6"),
    pytest.param(IPV6, "::", IPV4, "127.0.0.1", id="IPv4 to a server of both"),
    pytest.param(IPV6, "::", IPV6, "::ffff:127.0.0.1", id="IPv4 as IPv6 writes it"),
    pytest.param(IPV4, "127.0.0.1", IPV6, "::ffff:127.0.0.1", id="IPv6 socket to IPv4"),
]
Connect = Callable[..., tuple[socket.socket, socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that connects to a new server: the client's end, the accepted one."""
    with ExitStack() as stack:

        def connected(
            family: int = IPV4, host: str = "127.0.0.1", client_family: int = IPV4,
            target: str = "127.0.0.1",
        ) -> tuple[socket.socket, socket.socket]:  # fmt: skip
            listener = stack.enter_context(closing(socket.socket(family)))
            if family == IPV6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((host, 0))
            listener.listen()
            client = stack.enter_context(closing(socket.socket(client_family)))
            client.connect((target, listener.getsockname()[1]))
            return client, stack.enter_context(closing(listener.accept()[0]))

        yield connected


@pytest.fixture(params=["sock_diag", "proc"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one of the two ways to ask."""
    if request.param == "sock_diag":
        monkeypatch.setattr(peer_owner, "PROC_TABLES", ("/nowhere",))
    else:
        monkeypatch.setattr(peer_owner, "SOCK_DIAG", 31)  # there is no netlink of that number


def owner(accepted: socket.socket) -> int | None:
    """Return who is at the other end of an accepted connection."""
    return owner_of(accepted.getpeername()[:2], accepted.getsockname()[:2])


def is_ours(accepted: socket.socket) -> bool:
    """Say whether the other end is known to be ours."""
    return Peer(accepted.getpeername(), accepted.getsockname()).is_ours()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("family", "host", "client_family", "target"), PATHS)
def test_own_connection_is_ours(
    connect: Connect, family: int, host: str, client_family: int, target: str
) -> None:
    """Whatever the addresses are written like."""
    _, accepted = connect(family, host, client_family, target)
    assert os.geteuid() == owner(accepted)
    assert is_ours(accepted)


@needs_root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("family", "host", "client_family", "target"), PATHS)
def test_connection_of_another_user_is_not_ours(
    connect: Connect, family: int, host: str, client_family: int, target: str
) -> None:
    """The user counts who made the socket."""
    with another_user():
        _, accepted = connect(family, host, client_family, target)
    assert ANOTHER_USER == owner(accepted)
    assert not is_ours(accepted)


@needs_root
@pytest.mark.usefixtures("way")
def test_root_is_another_user_for_those_who_are_not_root(connect: Connect) -> None:
    """Proxies of container engines run as root."""
    _, accepted = connect()
    with another_user():
        assert 0 == owner(accepted)
        assert not is_ours(accepted)


@pytest.mark.usefixtures("way")
def test_client_that_has_sent_everything_is_known(connect: Connect) -> None:
    """Its end is closed for writing only."""
    client, accepted = connect()
    client.shutdown(socket.SHUT_WR)
    assert b"" == accepted.recv(1)
    assert is_ours(accepted)


@pytest.mark.usefixtures("way")
def test_closed_socket_is_nobodys(connect: Connect) -> None:
    """For the kernel it belongs to root; to be root must not be enough."""
    client, accepted = connect()
    client.close()
    assert b"" == accepted.recv(1)
    assert eventually(lambda: owner(accepted) is None)
    assert not is_ours(accepted)


@pytest.mark.usefixtures("way")
def test_who_listens_there_is_not_taken_for_the_peer() -> None:
    """The kernel answers with the listener when there is no such connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        assert owner_of(listener.getsockname(), ("127.0.0.1", 9)) is None


def test_what_cannot_be_asked_is_not_trusted(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sock_diag nor the tables are there."""
    _, accepted = connect()
    monkeypatch.setattr(peer_owner, "PROC_TABLES", ("/nowhere",))
    monkeypatch.setattr(peer_owner, "SOCK_DIAG", 31)
    assert not is_ours(accepted)


def test_connection_that_has_no_address_is_not_trusted() -> None:
    """It was gone before anybody looked."""
    assert not Peer(None, None).is_ours()
    assert owner_of(("nowhere", 1), ("127.0.0.1", 2)) is None
