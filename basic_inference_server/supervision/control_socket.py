"""The supervisor's control socket: commands in, answers out, changes pushed to subscribers.

Only processes of the same user are heard (SO_PEERCRED), whatever the file's mode says.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from basic_inference_server.core.errors import InternalError, ServiceError
from basic_inference_server.core.logs import EventLog
from basic_inference_server.wire.messages import (
    MAX_MESSAGE,
    MessageError,
    decode_message,
    encode_message,
)

Handler = Callable[[dict[str, Any]], Awaitable[Any]]
MAX_UNREAD_BYTES = 8 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred


class ControlSocket:
    """Serves commands on a listening Unix socket."""

    def __init__(
        self, handlers: dict[str, Handler], greeting: Callable[[], dict[str, Any]], log: EventLog
    ) -> None:
        """Take the commands, and what a new subscriber is sent at once."""
        self._handlers = handlers
        self._greeting = greeting
        self._log = log
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self, listener: socket.socket) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=MAX_MESSAGE
        )

    def push(self, message: dict[str, Any]) -> None:
        """Send a message to every subscriber; one that does not read is cut off."""
        line = encode_message(message)
        for writer in list(self._subscribers):
            if writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self._subscribers.discard(writer)
                writer.transport.abort()
            else:
                writer.write(line)

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
        for writer in self._subscribers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._is_ours(writer):
                return
            while line := await reader.readline():
                await self._answer(decode_message(line), writer)
                await writer.drain()
        except (OSError, MessageError, ValueError, asyncio.IncompleteReadError) as error:
            self._log.debug("control_connection_ended", error=str(error))
        finally:
            self._subscribers.discard(writer)
            writer.close()

    def _is_ours(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("socket")
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid in {os.geteuid(), 0}:
            return True
        self._log.warning("control_connection_refused", pid=pid, uid=uid)
        return False

    async def _answer(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        command = str(message.get("command"))
        if command == "subscribe":
            self._subscribers.add(writer)
            writer.write(encode_message(self._greeting()))
            return
        writer.write(encode_message(await self._run(command, message)))

    async def _run(self, command: str, message: dict[str, Any]) -> dict[str, Any]:
        handler = self._handlers.get(command)
        if handler is None:
            return _problem(InternalError(f"There is no command {command!r}."))
        try:
            return {"result": await handler(message)}
        except ServiceError as error:
            return _problem(error)
        except Exception as error:  # noqa: BLE001 - a faulty command must not end the supervisor
            self._log.error("command_failed", command=command, error=repr(error))
            return _problem(InternalError(f"The command {command!r} failed."))


def _problem(error: ServiceError) -> dict[str, Any]:
    return {
        "error": {
            "code": error.code,
            "status": error.status,
            "message": error.message,
            "details": error.details,
        }
    }
