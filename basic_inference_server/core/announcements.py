"""A child's side of its announcements to the supervisor.

The descriptor is a non-blocking sequenced-packet socket: a message is whole or not sent. What does
not fit now is kept and sent later; announcing never blocks and never raises.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from basic_inference_server.core.clock import monotonic_s

MAX_NOTIFICATIONS = 100


class Announcer:
    """Sends messages to the supervisor."""

    def __init__(self, fd: int, encode: Callable[[dict[str, Any]], bytes]) -> None:
        self._fd = fd
        self._encode = encode
        self._unsent: deque[bytes] = deque(maxlen=1000)
        self._lock = threading.RLock()

    def announce(self, kind: str, **fields: Any) -> None:
        """Send one message, or keep it until `flush`."""
        message = self._encode({"kind": kind, **fields})
        with self._lock:
            self._unsent.append(message)
            self._send_kept()

    def flush(self) -> bool:
        """Send what is kept; say whether all of it has gone."""
        with self._lock:
            return self._send_kept()

    def _send_kept(self) -> bool:
        while self._unsent:
            try:
                os.write(self._fd, self._unsent[0])
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.EMSGSIZE:  # this one can never go, the others can
                    self._unsent.popleft()
                    continue
                # The supervisor is gone, and soon so are we.
                self._unsent.clear()
                return True
            self._unsent.popleft()
        return True


class NotificationBuffer:
    """Keeps an endpoint's newest notifications and sends them when the worker has time.

    At most `MAX_NOTIFICATIONS` leave per second, so that an endpoint that notifies on each of
    20,000 requests a second costs its callers nothing; the number left out is sent with them.
    """

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._items: deque[dict[str, Any]] = deque(maxlen=MAX_NOTIFICATIONS)
        self._dropped = 0
        self._allowance = MAX_NOTIFICATIONS
        self._second = 0
        self._lock = threading.RLock()

    def add(self, notification: dict[str, Any]) -> None:
        """Keep one notification; the oldest goes when there are too many."""
        with self._lock:
            if len(self._items) == MAX_NOTIFICATIONS:
                self._dropped += 1
            self._items.append(notification)

    def forget(self) -> None:
        """Be as new, in a forked child: what is kept is its parent's, and so are held locks."""
        self._lock = threading.RLock()
        self._items.clear()

    def send(self) -> None:
        """Announce what is kept, as far as this second's allowance goes."""
        if self._items:
            with self._lock:
                self._send()

    def _send(self) -> None:
        second = int(monotonic_s())
        if second != self._second:
            self._second, self._allowance = second, MAX_NOTIFICATIONS
        if self._allowance <= 0:
            return
        count = min(len(self._items), self._allowance, 20)
        if not count:  # another thread has sent them
            return
        items = [self._items.popleft() for _ in range(count)]
        self._allowance -= len(items)
        dropped, self._dropped = self._dropped, 0
        self._announcer.announce("notifications", items=items, dropped=dropped)
        if self._items:
            self._send()
