"""Counts wrong tokens by where they come from, and says when there were too many.

Only failures are counted and only failures are refused: 256 random bits cannot be guessed at any
rate, and an address may be a proxy's, whose other clients have done nothing wrong.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from basic_inference_server.core.clock import monotonic_s

ALLOWED: Final = 10
WINDOW_S: Final = 60.0
MAX_SOURCES: Final = 4096


@dataclass(frozen=True)
class TooMany:
    """When the source may fail again, and whether this is the first news of it for a minute."""

    source: str
    retry_after_s: float
    is_news: bool


@dataclass
class _Record:
    failures_s: deque[float] = field(default_factory=lambda: deque(maxlen=ALLOWED))
    said_s: float | None = None


def source_of(address: str) -> str:
    """Return whom an address stands for: itself, or the /64 network that one IPv6 client has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


class Attempts:
    """The failed attempts of the last minute, of the sources that failed last."""

    def __init__(self, now_s: Callable[[], float] = monotonic_s) -> None:
        self._now_s = now_s
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._lock = threading.Lock()  # the event loop and the control plane's threads count here

    def fail(self, address: str) -> TooMany | None:
        """Count a failed attempt, or say that there were too many."""
        source = source_of(address)
        with self._lock:
            now_s = self._now_s()
            record = self._records.setdefault(source, _Record())
            self._records.move_to_end(source)
            if len(self._records) > MAX_SOURCES:
                self._records.popitem(last=False)
            failures_s = record.failures_s
            if len(failures_s) < ALLOWED or failures_s[0] <= now_s - WINDOW_S:
                failures_s.append(now_s)  # the oldest one goes
                return None
            is_news = record.said_s is None or record.said_s <= now_s - WINDOW_S
            if is_news:
                record.said_s = now_s
            return TooMany(source, failures_s[0] + WINDOW_S - now_s, is_news)
