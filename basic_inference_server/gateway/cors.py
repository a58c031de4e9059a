"""Cross-origin headers of the data path (the Fetch standard); administration has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basic_inference_server.gateway.exchange import Exchange

ANY = b"access-control-allow-origin: *\r\n"
EXPOSED = b"access-control-expose-headers: X-Request-Id, Server-Timing, Retry-After\r\n"
PREFLIGHT = (
    b"access-control-allow-methods: GET, POST, OPTIONS\r\n"
    b"access-control-allow-headers: Content-Type, Authorization, "
    b"X-Request-Id, X-Request-Timeout\r\n"
    b"access-control-max-age: 600\r\n"
)


class CorsPolicy:
    """Which origins may read answers in a browser."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._allows_any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, exchange: Exchange) -> bytes:
        """Return the header lines for an answer; nothing for a caller that is no browser."""
        origin = exchange.headers.get(b"origin")
        if origin is None:
            return ANY if self._allows_any else b""
        if self._allows_any:
            return ANY + EXPOSED
        if origin in self._origins:
            return b"access-control-allow-origin: %b\r\nvary: Origin\r\n%b" % (origin, EXPOSED)
        return b"vary: Origin\r\n"

    def preflight_headers(self, exchange: Exchange) -> bytes:
        """Return the header lines that answer a browser's preflight request."""
        return self.headers(exchange) + PREFLIGHT
