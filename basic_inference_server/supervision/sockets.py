"""The listening TCP sockets, all owned by the supervisor."""

from __future__ import annotations

import errno
import socket

TCP_BACKLOG = 2048


class StartError(Exception):
    """The gateway cannot start; the message is the one line that the operator sees."""


_claims: dict[str, socket.socket] = {}


def _claim(host: str, port: int) -> None:
    """Keep other gateways off a port that we have bound but do not listen on yet.

    Two sockets with SO_REUSEADDR may both bind a port that nobody listens on. A name in the
    abstract Unix namespace, which has the same scope as the ports and goes with the process,
    is given out once only.
    """
    name = f"{host}.{port}"
    if name in _claims:
        return
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0basic_inference_server.port.{name}")
    except OSError as error:
        claim.close()
        raise StartError(
            f"port {port} on {host} is in use by another gateway that is starting"
        ) from error
    _claims[name] = claim


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a bound TCP socket that does not listen yet.

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
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartError(_explain_bind(host, port, error)) from error
    try:
        _claim(host, listener.getsockname()[1])
    except StartError:
        listener.close()
        raise
    return listener


def unbind(listener: socket.socket) -> None:
    """Close a socket of `bind_tcp` and let others have its port."""
    host, port = listener.getsockname()[:2]
    for name in (f"{host}.{port}", *(name for name in _claims if name.endswith(f".{port}"))):
        claim = _claims.pop(name, None)
        if claim is not None:
            claim.close()
            break
    listener.close()


def _explain_bind(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use{_by_whom(port)}; stop that or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights; choose a port above 1023"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def _by_whom(port: int) -> str:
    import psutil  # noqa: PLC0415 - 60 ms and 7 MB that only this error needs

    try:
        owners = [
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.pid
            and connection.laddr
            and connection.laddr.port == port
        ]
    except (psutil.Error, OSError):
        return ""
    # Forked processes share a socket; the oldest one is who to talk to.
    return f" by pid {min(owners)}" if owners else ""


def bind_direct_port(host: str, wanted: int | None, first_free: int) -> socket.socket:
    """Bind a server's own HTTP port: the wanted one, or the first free one from `first_free`.

    Raises:
        StartError: the wanted port is taken, or no port is free.
    """
    if wanted is not None:
        return bind_tcp(host, wanted)
    if first_free == 0:
        return bind_tcp(host, 0)
    for port in range(first_free, min(first_free + 2000, 65536)):
        try:
            return bind_tcp(host, port)
        except StartError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
                raise
    raise StartError(f"no free port from {first_free} on {host}")
