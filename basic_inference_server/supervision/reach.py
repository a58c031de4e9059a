"""From where a gateway can be reached, and what anyone who reaches it may do."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

from basic_inference_server.core.settings import EndpointSettings

SIOCGIFCONF = 0x8912
IFREQ_BYTES = 24 + 2 * struct.calcsize("P")
MAX_ADDRESSES = 100
GLOBAL_SCOPE = "00"
LOOPBACK_SCOPE = "10"
MAX_NAMED = 10


def urls(listener: socket.socket) -> list[str]:
    """Return every URL under which a port can be reached from this or another machine."""
    host, port = listener.getsockname()[:2]
    hosts = [host]
    if _address(listener).is_unspecified:
        with contextlib.suppress(OSError):  # a sandbox may not say: then it is the wildcard
            hosts = _addresses_of_this_machine(listener)
    return [f"http://[{one}]:{port}" if ":" in one else f"http://{one}:{port}" for one in hosts]


def _address(listener: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    host: str = listener.getsockname()[0]
    return ipaddress.ip_address(host.partition("%")[0])


def _addresses_of_this_machine(listener: socket.socket) -> list[str]:
    if listener.family == socket.AF_INET:
        return list(_ipv4_addresses())
    takes_ipv4 = not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return [*(_ipv4_addresses() if takes_ipv4 else ()), *_ipv6_addresses()]


def _ipv4_addresses() -> Iterator[str]:
    entries = array("B", bytes(MAX_ADDRESSES * IFREQ_BYTES))
    request = struct.pack("iP", len(entries), entries.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFCONF, request)
    for offset in range(0, struct.unpack("iP", answer)[0], IFREQ_BYTES):
        yield socket.inet_ntoa(entries[offset + 20 : offset + 24])


def _ipv6_addresses() -> Iterator[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        digits, _, _, scope, *_ = line.split()
        if scope in {GLOBAL_SCOPE, LOOPBACK_SCOPE}:
            yield str(ipaddress.IPv6Address(int(digits, 16)))


def is_reachable(listener: socket.socket) -> bool:
    """Say whether other machines can connect to a port."""
    return not _address(listener).is_loopback


def open_endpoints(
    sections: Mapping[str, EndpointSettings],
    gateway: socket.socket,
    own_ports: Mapping[str, socket.socket],
) -> list[str]:
    """Return the endpoints that other machines may call without a token."""
    return [
        name
        for name, section in sections.items()
        if (listener := own_ports.get(name)) is not None
        and section.OPEN_TO_PUBLIC
        and not section.DISABLED
        and (is_reachable(gateway) or is_reachable(listener))
    ]


def warning(names: list[str]) -> str | None:
    """Return what an operator should know about endpoints that are open to other machines."""
    if not names:
        return None
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        "Everyone who reaches it from another machine may call, without a token: "
        f"{', '.join(names[:MAX_NAMED])}{more}. OPEN_TO_PUBLIC: false closes an endpoint; "
        "--host 127.0.0.1 closes the port."
    )
