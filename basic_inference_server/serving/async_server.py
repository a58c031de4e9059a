"""Several requests at once in one worker: tasks of one event loop.

The loop accepts while fewer than `THREADS` requests are in flight; the others wait in the kernel's
accept queue, where any worker of the server can take them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import uvloop

from basic_inference_server.serving.async_calls import AsyncEndpointCaller
from basic_inference_server.serving.async_connection import AsyncConnection
from basic_inference_server.serving.async_responder import AsyncResponder
from basic_inference_server.worker.execution import describe
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.own_process import own_process

if TYPE_CHECKING:
    from basic_inference_server.serving.pull_worker import PullWorker

ACCEPT_PAUSE_S = 0.1
CLEAN_UP_S = 0.5  # of the second that a worker has to leave


class AsyncServer:
    """Serves on an event loop until the worker leaves and everything in flight is answered."""

    def __init__(self, worker: PullWorker) -> None:
        spec = worker.spec
        self._worker = worker
        self._most = spec.threads
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._thread = threading.get_ident()
        worker.forked_child.also = self.end_in_child
        self.caller = AsyncEndpointCaller(spec.signature, spec.control_path, spec.timeout_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_shut = False
        self._is_pausing = False
        self._is_listening = False
        self._is_leaving = False

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, before the worker serves."""
        return self._loop.run_until_complete(coroutine)

    def serve(self, endpoint: FlaskWorker, listener: socket.socket) -> None:
        """Serve; whatever the endpoint does to the loop, it goes on until nothing is in flight."""
        loop, worker = self._loop, self._worker
        slot = worker.share_slot()
        self._listener = listener
        self._responder = AsyncResponder(
            endpoint, worker.spec, worker.slot, slot, worker.events, loop
        )
        worker.look_after(slot, self.set_open)
        loop.set_exception_handler(self._say_failed_task)
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        worker.forked_child.note_handlers()
        loop.add_reader(worker.PIPE[0], self._on_wake)
        loop.call_soon(self._look)
        while not (self._is_leaving and not self._tasks):
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - SystemExit in a task of the endpoint's
                worker.events.error("task_failed", error=describe(error))

    def set_open(self, is_open: bool) -> None:
        """Accept, or accept nothing for now; from any thread."""
        self._is_shut = not is_open
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._look)

    def _leave(self) -> None:
        self._worker.start_to_leave()
        self._look()

    def _on_wake(self) -> None:
        self._worker.on_wake()
        self._look()

    def _look(self) -> None:
        """Listen or not, as things are; end the loop when the last request is done."""
        self._is_leaving = not self._worker.alive
        is_barred = self._is_leaving or self._is_shut or self._is_pausing
        listens = not is_barred and len(self._tasks) < self._most
        if listens != self._is_listening:
            self._is_listening = listens
            if listens:
                self._loop.add_reader(self._listener, self._accept)
            else:
                self._loop.remove_reader(self._listener)
        if self._is_leaving and not self._tasks:
            self._loop.stop()

    def _accept(self) -> None:
        """Take one connection: what else waits is for whoever is the next to have time."""
        worker = self._worker
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:  # another worker was faster
            return
        except OSError as error:
            self._is_pausing = True  # the listener stays readable
            worker.note_failed_accept(error)
            self._loop.call_later(ACCEPT_PAUSE_S, self._go_on)
            self._look()
            return
        worker.failed_accepts = 0
        task = self._loop.create_task(self._serve(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        if len(self._tasks) >= self._most:
            self._look()

    def _go_on(self) -> None:
        self._is_pausing = False
        self._look()

    async def _serve(self, accepted: socket.socket) -> None:
        with accepted:
            await self._responder.serve_async(AsyncConnection(accepted))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._worker.events.error("task_failed", error=describe(error))
        self._worker.count_requests(1)
        self._worker.notifications.send()
        self._look()

    def _say_failed_task(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:  # of the endpoint's own tasks and callbacks
        del loop
        error = context.get("exception")
        shown = describe(error) if error is not None else str(context.get("message"))
        self._worker.events.warning("task_failed", error=shown)

    def end_in_child(self) -> None:
        """Have a forked child end when it comes back to the loop, which is its parent's."""
        if threading.get_ident() == self._thread:
            with contextlib.suppress(RuntimeError):  # it is closed already
                self._loop.call_soon(own_process.end_child)

    def close(self) -> None:
        """Cancel what the endpoint has left running, and give it a moment to clean up."""
        loop = self._loop
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        try:
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=CLEAN_UP_S))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:  # noqa: BLE001 - the endpoint's
            self._worker.events.warning("task_failed", error=describe(error))
        self._responder.hang_ups.close()
        loop.close()
