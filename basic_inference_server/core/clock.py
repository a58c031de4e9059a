"""The only place that reads the clocks.

Durations and deadlines use the monotonic clock, which is the same for every process of the
machine; wall time is for people.
"""

from __future__ import annotations

import time
from email.utils import formatdate

NS_PER_S = 1_000_000_000

monotonic_s = time.monotonic
monotonic_ns = time.monotonic_ns
wall_s = time.time


class Standstill:
    """Notices that this process has not run for a while: it was stopped, frozen or starved.

    Who judges others by the clock looks before, because they have probably stood still as well.

    Args:
        longest_s: how much time may pass between two looks.
    """

    def __init__(self, longest_s: float = 3.0) -> None:
        self._longest_s = longest_s
        self._looked_at_s: float | None = None

    def look(self, now_s: float) -> float:
        """Return for how many seconds it has stood still since the last look; mostly 0."""
        before_s, self._looked_at_s = self._looked_at_s, now_s
        if before_s is None or now_s - before_s <= self._longest_s:
            return 0.0
        return now_s - before_s


class SecondCache:
    """Texts of the current second, rendered once per second instead of once per request."""

    def __init__(self) -> None:
        self._second = -1
        self._local = ""
        self._http_date = b""

    def _refresh(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._http_date = formatdate(second, usegmt=True).encode()

    def local_time(self) -> str:
        """Return local time as `YYYY-MM-DD HH:MM:SS`, honouring `TZ`."""
        self._refresh()
        return self._local

    def http_date(self) -> bytes:
        """Return the value of a `Date` header (RFC 9110, section 5.6.7)."""
        self._refresh()
        return self._http_date


_cache = SecondCache()
local_time_text = _cache.local_time
http_date = _cache.http_date


def utc_timestamp() -> str:
    """Return the current UTC time in ISO 8601 with milliseconds, for log lines."""
    now = time.time()
    seconds = int(now)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{stamp}.{int((now - seconds) * 1000):03d}Z"
