"""A gateway process's line to the supervisor: it is told the routing table and deaths.

When the line breaks, the last table stays in force and the link tries again.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
ANSWER_WITHIN_S = 0.25

OnResult = Callable[[dict[str, Any] | None], None]


class Question:
    """Something the supervisor was told; its answer is taken once, or given up."""

    def __init__(self, on_result: OnResult) -> None:
        self._on_result: OnResult | None = on_result

    def answer(self, result: dict[str, Any] | None) -> None:
        """Pass the answer on; a second one is no news."""
        on_result, self._on_result = self._on_result, None
        if on_result is not None:
            on_result(result)


class SupervisorLink:
    """Subscribes to the supervisor, passes on what it pushes, and tells it things."""

    def __init__(self, control_path: str, log: EventLog) -> None:
        self._path = control_path
        self._log = log
        self._on_table: Callable[[RoutingTable], None] = lambda _: None
        self._on_worker_exit: Callable[[dict[str, Any]], None] = lambda _: None
        self._writer: asyncio.StreamWriter | None = None
        self._questions: deque[Question] = deque()

    async def run(
        self,
        on_table: Callable[[RoutingTable], None],
        on_worker_exit: Callable[[dict[str, Any]], None],
    ) -> None:
        """Stay subscribed until cancelled."""
        self._on_table, self._on_worker_exit = on_table, on_worker_exit
        while True:
            try:
                await self._follow()
            except (OSError, MessageError, ValueError) as error:
                self._log.debug("supervisor_link_broken", error=str(error))
            await asyncio.sleep(RETRY_S)

    def tell(self, command: str, fields: dict[str, Any], on_result: OnResult) -> None:
        """Send a command; `on_result` gets its result, or `None` when there is none soon."""
        if self._writer is None:
            on_result(None)
            return
        question = Question(on_result)
        self._questions.append(question)
        asyncio.get_running_loop().call_later(ANSWER_WITHIN_S, question.answer, None)
        self._writer.write(encode_message({"command": command, **fields}))

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_MESSAGE)
        try:
            writer.write(encode_message({"command": "subscribe"}))
            self._writer = writer
            while line := await reader.readline():
                self._take(decode_message(line))
        finally:
            self._writer = None
            writer.close()
            while self._questions:
                self._questions.popleft().answer(None)

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
            self._on_worker_exit(message)
        elif "push" not in message and self._questions:  # answers come in the order of questions
            self._questions.popleft().answer(message.get("result"))
