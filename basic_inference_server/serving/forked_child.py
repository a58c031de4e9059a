"""What a process that endpoint code has forked is rid of: everything by which it could be a worker.

`multiprocessing` forks, and so does `subprocess` with a `preexec_fn`. The child would have the
worker's signal handlers, so that the SIGTERM with which its parent ends it would be taken for the
worker's own, and the worker's locks, as they were in the middle of what another thread did. A
signal that comes before it is rid of them waits until it is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from basic_inference_server.core.logs import EventLog
from basic_inference_server.worker.own_process import own_process


class Forgetful(Protocol):
    """What has locks, and keeps what its process has still to send."""

    def forget(self) -> None:
        """Be as new."""


class ForkedChild:
    """Makes each child that is forked from this process, by Python code, a process of its own.

    Args:
        signals: those that the worker has handlers for.
        keepers: what has to be as new in the child.
        events: where it is said that a child has come back.
    """

    def __init__(
        self, signals: Iterable[int], keepers: Iterable[Forgetful], events: EventLog
    ) -> None:
        self._signals = list(signals)
        self._keepers = list(keepers)
        self._events = events
        self._own_handlers: list[Any] = []
        self._forking = threading.local()
        self.also: Callable[[], None] = lambda: None
        self.note_handlers()
        os.register_at_fork(
            before=self._hold_signals,
            after_in_parent=self._take_signals,
            after_in_child=self._in_child,
        )

    def note_handlers(self) -> None:
        """Remember which handlers are the worker's own; those of the endpoint's are inherited."""
        for number in self._signals:
            handler = signal.getsignal(number)
            if callable(handler) and handler not in self._own_handlers:
                self._own_handlers.append(handler)

    def _hold_signals(self) -> None:
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def _take_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)

    def _in_child(self) -> None:
        own_process.forked(self._say)
        for keeper in self._keepers:
            keeper.forget()
        signal.set_wakeup_fd(-1)
        for number in self._signals:
            if signal.getsignal(number) in self._own_handlers:
                signal.signal(number, signal.SIG_DFL)
        self.also()
        self._take_signals()

    def _say(self) -> None:
        why = "it came back from the endpoint's code; end it there with os._exit"
        self._events.warning("forked_child_ended", pid=os.getpid(), why=why)
