"""Keeps a fault that goes on from filling the log: each complaint is made once a minute."""

from __future__ import annotations

import threading
from typing import Final

AGAIN_AFTER_S: Final = 60.0


class Complaints:
    """Which complaints were made within the last minute. Usable from several threads."""

    def __init__(self) -> None:
        self._silent_until_s: dict[str, float] = {}
        self._lock = threading.Lock()  # so that of several threads one complains

    def is_due(self, what: str, now_s: float) -> bool:
        """Say whether to complain of `what` now; who asks is taken to do so."""
        with self._lock:
            if now_s < self._silent_until_s.get(what, now_s):
                return False
            recent = {
                one: until_s for one, until_s in self._silent_until_s.items() if now_s < until_s
            }
            self._silent_until_s = {**recent, what: now_s + AGAIN_AFTER_S}
            return True
