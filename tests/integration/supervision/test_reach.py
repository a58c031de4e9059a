"""What the log says about where a gateway can be reached, and by whom."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil
import pytest

from basic_inference_server.core.settings import validate
from basic_inference_server.supervision.reach import open_endpoints, urls, warning
from basic_inference_server.supervision.sockets import bind_tcp

SECTIONS = validate(
    {
        "CONFIG_ENDPOINTS": {
            "open": {},
            "closed": {"OPEN_TO_PUBLIC": False},
            "off": {"DISABLED": True},
            "public": {"HOST": "0.0.0.0"},
            "support": {"HOST": "NO_HOST"},
        }
    }
).CONFIG_ENDPOINTS


@pytest.fixture
def bound() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for one in sockets:
        one.close()


def addresses_of_this_machine(*families: socket.AddressFamily) -> set[str]:
    """Return what psutil knows, but for addresses that need the name of an interface with them."""
    return {
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in families and not address.address.startswith("fe80")
    }


@pytest.mark.parametrize(
    ("host", "families"),
    [
        pytest.param("0.0.0.0", [socket.AF_INET], id="IPv4"),
        pytest.param("::", [socket.AF_INET, socket.AF_INET6], id="both"),
    ],
)
def test_every_address_is_every_address(
    bound: list[socket.socket], host: str, families: list[socket.AddressFamily]
) -> None:
    """Not one of them only, which would hide that others can connect."""
    bound.append(bind_tcp(host, 0))
    port = bound[0].getsockname()[1]
    expected = {
        f"http://[{one}]:{port}" if ":" in one else f"http://{one}:{port}"
        for one in addresses_of_this_machine(*families)
    }
    assert expected == set(urls(bound[0]))


def test_name_is_shown_as_the_address_that_it_means(bound: list[socket.socket]) -> None:
    """What listens is an address."""
    bound.append(bind_tcp("localhost", 0))
    host, port = bound[0].getsockname()[:2]
    assert [f"http://{host}:{port}" if ":" not in host else f"http://[{host}]:{port}"] == (
        urls(bound[0])
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("127.0.0.1", ["public"], id="only its own port"),
        pytest.param("0.0.0.0", ["open", "public"], id="the gateway's port"),
    ],
)
def test_endpoints_that_other_machines_can_call_are_named(
    bound: list[socket.socket], host: str, expected: list[str]
) -> None:
    """Those that need no token and run, on the gateway's port or on their own."""
    gateway = bind_tcp(host, 0)
    bound.append(gateway)
    own = {name: bind_tcp(s.HOST, 0) for name, s in SECTIONS.items() if not s.is_support_process}
    bound.extend(own.values())
    assert expected == open_endpoints(SECTIONS, gateway, own)


def test_many_endpoints_are_not_all_named() -> None:
    """The line stays readable."""
    assert warning([]) is None
    assert "a token: e0, e1, e2, e3, e4, e5, e6, e7, e8, e9 and 3 more." in str(
        warning([f"e{number}" for number in range(13)])
    )
