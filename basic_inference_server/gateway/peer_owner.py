"""Whose process is at the other end of a connection within this machine: the kernel knows.

Asked over sock_diag(7), or read from `/proc/net/tcp` where that is missing. What cannot be
established is nobody's: a socket that is closed already belongs to user 0 for the kernel.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

Address = tuple[str, int]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
REQUEST: Final = 1  # NLM_F_REQUEST
# struct nlmsghdr: length, type, flags, sequence number, port id
_HEADER: Final = struct.Struct("=IHHII")
# struct inet_diag_req_v2: family, protocol, extensions, states
_QUESTION: Final = struct.Struct("=BBBxI")
# struct inet_diag_sockid: ports, addresses, interface, cookie
_ENDS: Final = struct.Struct("!HH16s16s12s")
ANY_INTERFACE_NO_COOKIE: Final = bytes(4) + b"\xff" * 8
# struct inet_diag_msg: family, state, timer, retransmissions, ends, expires, queues, uid, inode
_ANSWER: Final = struct.Struct("=BBBB48sIIIII")
ESTABLISHED, FIN_WAIT1, FIN_WAIT2 = 1, 4, 5
# It has connected; it may have sent all that it wants to send.
CONNECTED: Final = frozenset({ESTABLISHED, FIN_WAIT1, FIN_WAIT2})
# What /proc/net leads to; a /proc that shows processes only has these all the same.
PROC_TABLES: Final = ("/proc/self/net/tcp", "/proc/self/net/tcp6")


class Peer:
    """The other end of one accepted connection; asked about once."""

    def __init__(self, peer: Any, local: Any) -> None:
        """Take the addresses that the accepted socket has: of its peer, and its own."""
        self._peer: Address | None = peer[:2] if peer else None
        self._local: Address | None = local[:2] if local else None
        self._is_ours: bool | None = None

    def is_ours(self) -> bool:
        """Say whether the peer's socket is known to belong to the user that we run as."""
        if self._is_ours is None:
            self._is_ours = (
                self._peer is not None
                and self._local is not None
                and owner_of(self._peer, self._local) == os.geteuid()
                and own_user_is_unmistakable()
            )
        return self._is_ours


def owner_of(peer: Address, local: Address) -> int | None:
    """Return the user of the socket at `peer` that is connected to `local`; `None`: not known."""
    ways: tuple[Callable[[IPAddress, int, IPAddress, int], int | None], ...]
    ways = (ask_sock_diag, look_in_proc)
    try:
        ends = (_parsed(peer[0]), peer[1], _parsed(local[0]), local[1])
    except ValueError:
        return None
    for way in ways:
        try:
            owner = way(*ends)
        except (OSError, struct.error, ValueError):
            continue
        if owner is not None:
            return owner
    return None


def _parsed(host: str) -> IPAddress:
    """Return an address; IPv4 as IPv6 shows it is IPv4 for the kernel, too."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def ask_sock_diag(peer: IPAddress, port: int, local: IPAddress, local_port: int) -> int | None:
    """Return the owner as sock_diag says it; `None` when it knows no such socket.

    Raises:
        OSError: there is no sock_diag here.
    """
    family = socket.AF_INET if peer.version == 4 else socket.AF_INET6
    ends = _ENDS.pack(
        port, local_port, peer.packed.ljust(16, b"\0"), local.packed.ljust(16, b"\0"),
        ANY_INTERFACE_NO_COOKIE,
    )  # fmt: skip
    body = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG) as line:
        line.bind((0, 0))
        line.sendto(_HEADER.pack(_HEADER.size + len(body), BY_FAMILY, REQUEST, 0, 0) + body, (0, 0))
        # The kernel has answered by now: it does so while it takes the question.
        answer, (sender, _) = line.recvfrom(4096, socket.MSG_DONTWAIT)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if sender != 0 or kind != BY_FAMILY:
        return None
    (family, state, _, _, found, _, _, _, uid, inode) = _ANSWER.unpack_from(answer, _HEADER.size)
    # Without a socket at the one address, the kernel answers with whoever listens at the other.
    is_it = _shown(family, found) == (peer, port, local, local_port)
    return int(uid) if is_it and inode and state in CONNECTED else None


def _shown(family: int, ends: bytes) -> tuple[IPAddress, int, IPAddress, int]:
    port, local_port, peer, local, _ = _ENDS.unpack(ends)
    length = 4 if family == socket.AF_INET else 16
    return (
        _parsed(str(ipaddress.ip_address(peer[:length]))), port,
        _parsed(str(ipaddress.ip_address(local[:length]))), local_port,
    )  # fmt: skip


def look_in_proc(peer: IPAddress, port: int, local: IPAddress, local_port: int) -> int | None:
    """Return the owner as the kernel's tables of connections have it; `None` when they do not.

    Raises:
        OSError: they cannot be read.
    """
    wanted = {
        f" {_hex(peer, as_ipv6)}:{port:04X} {_hex(local, as_ipv6)}:{local_port:04X} "
        for as_ipv6 in (False, True)
    }
    for table in PROC_TABLES:
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            if not any(ends in line for ends in wanted):
                continue
            # number, ends, state, queues, timer, retransmissions, uid, timeouts, inode
            fields = line.split()
            state, uid, inode = int(fields[3], 16), int(fields[7]), int(fields[9])
            if inode and state in CONNECTED:
                return uid
    return None


def _hex(address: IPAddress, as_ipv6: bool) -> str:
    """Return an address as those tables show it: words of 32 bits as the processor has them."""
    packed = address.packed
    if as_ipv6 and len(packed) == 4:
        packed = bytes(10) + b"\xff\xff" + packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def own_user_is_unmistakable() -> bool:
    """Say whether a user that the kernel shows as ours is ours.

    In a user namespace all users that have no number there are shown as one, mostly 65534.
    """
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
        if os.geteuid() != overflow:
            return True
        mapped = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return os.geteuid() != 65534
    return mapped == ["0", "0", "4294967295"]
