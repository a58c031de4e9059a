"""The listening TCP sockets, all owned by the supervisor."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Container

TCP_LISTEN = 10
TCP_INFO_UNACKED = 24  # of a listening socket: the length of its accept queue


class StartError(Exception):
    """The gateway cannot start; the message is the one line that the operator sees."""


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a TCP socket that does not listen yet, on a port that nobody else can bind.

    Raises:
        StartError: the address is taken, not ours, or not allowed.
    """
    if not 0 <= port <= 65535:
        raise StartError(f"port {port} on {host} cannot be: ports go from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(f"host {host!r} cannot be resolved: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        # Connections of the last run may linger in TIME_WAIT, and must not keep us from the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        _keep_others_off(listener, port)
    except OSError as error:
        listener.close()
        raise StartError(explain_taken(host, port, error)) from error
    return listener


def _keep_others_off(listener: socket.socket, port: int) -> None:
    """Make a second bind of the port fail although nobody listens on it yet.

    Without SO_REUSEADDR the kernel gives a port to one socket only. Older kernels, though, note
    that all sockets of a port had the option when they were bound, and then look no further until
    one of them has listened. (The note is `fastreuse` in `inet_csk_get_port`.) So it listens for
    an instant; the socket of a port that the kernel chose would lose it by that.
    """
    if port:
        listener.listen(1)
        listener.shutdown(socket.SHUT_RD)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def explain_taken(host: str, port: int, error: OSError) -> str:
    """Return in one line why a port cannot be ours, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use{_by_whom(port)}; stop that or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights; choose a port above 1023"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def _by_whom(port: int) -> str:
    import psutil  # noqa: PLC0415 - 60 ms and 7 MB that only this error needs

    try:
        listening = [
            connection
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == port
        ]
    except (psutil.Error, OSError):
        return ""
    if not listening:
        return " by a program that does not listen yet, such as a gateway that is starting"
    # Forked processes share a socket; the oldest one is the one to ask.
    owners = [connection.pid for connection in listening if connection.pid]
    return f" by pid {min(owners)}" if owners else ""


def bind_direct_port(
    host: str, wanted: int | None, first_free: int, avoided: Container[int] = ()
) -> socket.socket:
    """Bind a server's own HTTP port: the wanted one, or the first free one from `first_free`.

    Ports in `avoided` are not taken without being asked for.

    Raises:
        StartError: the wanted port is taken, or no port is free.
    """
    if wanted is not None:
        return bind_tcp(host, wanted)
    if first_free == 0:
        return bind_tcp(host, 0)
    for port in range(first_free, min(first_free + 2000, 65536)):
        if port in avoided:
            continue
        try:
            return bind_tcp(host, port)
        except StartError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
                raise
    raise StartError(f"no free port from {first_free} on {host}")


def waiting_connections(listener: socket.socket) -> int:
    """Return how many connections a listening socket holds that nobody has accepted."""
    information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    state: int = information[0]
    waiting: int = struct.unpack_from("I", information, TCP_INFO_UNACKED)[0]
    return waiting if state == TCP_LISTEN else 0
