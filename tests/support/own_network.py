"""A network of one's own, so that a test can use the default ports on a machine where others do."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from basic_inference_server.supervision.sockets import bind_direct_port

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


@contextmanager
def own_network() -> Iterator[bool]:
    """Move this thread, and what it starts, into a network that has nothing but a loopback.

    Yields:
        Whether that was allowed; it needs root. If not, everything stays as it is.
    """
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.unshare(CLONE_NEWNET) != 0:
            yield False
            return
        try:
            _loopback_up()
            yield True
        finally:
            if library.setns(before, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot leave the network")
    finally:
        os.close(before)


def _loopback_up() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def free_port() -> int:
    """Return a port that is free, of those that the kernel gives to no client."""
    first = 20_000 + os.getpid() % 5000  # test runs side by side look in places of their own
    with bind_direct_port("127.0.0.1", None, first) as listener:
        return int(listener.getsockname()[1])
