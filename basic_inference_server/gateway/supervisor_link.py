"""A gateway process's line to the supervisor: it is told the routing table and deaths.

When the line breaks, the last table stays in force and the link tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.topology import RoutingTable
from basic_inference_server.wire.messages import (
    MAX_MESSAGE,
    MessageError,
    decode_message,
    encode_message,
)

RETRY_S = 0.2


class SupervisorLink:
    """Subscribes to the supervisor and passes on what it pushes."""

    def __init__(
        self,
        control_path: str,
        on_table: Callable[[RoutingTable], None],
        on_worker_exit: Callable[[str, str], None],
        log: EventLog,
    ) -> None:
        self._path = control_path
        self._on_table = on_table
        self._on_worker_exit = on_worker_exit
        self._log = log

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        while True:
            try:
                await self._follow()
            except (OSError, MessageError, ValueError) as error:
                self._log.debug("supervisor_link_broken", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_MESSAGE)
        try:
            writer.write(encode_message({"command": "subscribe"}))
            while line := await reader.readline():
                self._take(decode_message(line))
        finally:
            writer.close()

    def _take(self, message: dict[str, Any]) -> None:
        try:
            self._pass_on(message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # A new subscription begins with a whole table.
            raise MessageError(f"a push that makes no sense: {error!r}") from error

    def _pass_on(self, message: dict[str, Any]) -> None:
        if message.get("push") == "table":
            self._on_table(RoutingTable.from_message(message["table"]))
        elif message.get("push") == "worker_exit":
            self._on_worker_exit(message["signature"], message["cause"])
