"""One request, or one batch, at a time: accept, execute, answer."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from basic_inference_server.serving.batches import BatchResponder, Gatherer
from basic_inference_server.serving.connection import FrameConnection, accept
from basic_inference_server.serving.responder import Responder
from basic_inference_server.worker.flask_worker import FlaskWorker

if TYPE_CHECKING:
    from basic_inference_server.serving.pull_worker import PullWorker

LOOK_S = 1.0  # who was woken for a connection may have been killed

Serve = Callable[[socket.socket], int]


class SerialServer:
    """Serves until the worker leaves.

    Args:
        worker: whose endpoint it is.
        listener: where connections come from; it does not block.
        serve: answers an accepted connection, and those that it takes along; returns how many.
    """

    def __init__(self, worker: PullWorker, listener: socket.socket, serve: Serve) -> None:
        self._worker = worker
        self._listener = listener
        self._execute = serve

    def serve(self) -> None:
        """Serve; the last connection that has woken this worker is served as well."""
        worker, listener, slot = self._worker, self._listener, self._worker.slot
        wake_up, execute = worker.PIPE[0], self._execute
        waiter = select.epoll()
        # Exclusive: one connection wakes one idle worker, not all of them.
        waiter.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        waiter.register(wake_up, select.EPOLLIN)
        is_woken = False
        while worker.alive or is_woken:
            try:
                accepted = accept(listener)
            except BlockingIOError:
                worker.notifications.send()
                # What has woken this worker wakes no other, so it has to be looked after even when
                # it is to leave. Should it be killed just then, another one looks in a second.
                woken_by = [fd for fd, _ in waiter.poll(LOOK_S)] if worker.alive else []
                is_woken = listener.fileno() in woken_by
                if wake_up in woken_by:
                    worker.on_wake()
                continue
            except OSError as error:
                worker.survive_failed_accept(error)
                continue
            is_woken = False
            worker.failed_accepts = 0
            worker.count_requests(execute(accepted))
            if slot.is_asked_to_leave:
                worker.start_to_leave()


def serving_of(worker: PullWorker, endpoint: FlaskWorker, listener: socket.socket) -> Serve:
    """Return what answers an accepted connection: alone, or with what fits into a batch."""
    spec = worker.spec
    if spec.batch_size == 1:
        responder = Responder(endpoint, spec, worker.slot, worker.events)

        def serve_one(accepted: socket.socket) -> int:
            with accepted:
                responder.serve(FrameConnection(accepted))
            return 1

        return serve_one
    batches = BatchResponder(endpoint, spec, worker.slot, worker.events)
    gatherer = Gatherer(listener, spec.batch_size, spec.batch_wait_ms)
    return lambda accepted: batches.serve_batch(gatherer.gather(accepted))
