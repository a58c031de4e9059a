"""Notices a proxy on this machine: its callers would look local where it adds no header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.control_plane.local_call import (
    FORWARDING_HEADERS,
    is_loopback,
)

if TYPE_CHECKING:
    from basic_inference_server.gateway.exchange import Exchange

_USUAL = ("X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_HOST")
MARKS: Final = frozenset(
    name.removeprefix("HTTP_").replace("_", "-").lower().encode()
    for name in (*FORWARDING_HEADERS, *_USUAL)
)


class ProxyWatch:
    """Says once that calls come through a proxy while loopback is trusted."""

    def __init__(self, log: EventLog, *, trusts_loopback: bool) -> None:
        self._log = log
        self.is_on = trusts_loopback

    def look(self, exchange: Exchange) -> None:
        """Look at a request; only while `is_on`."""
        if exchange.headers.keys().isdisjoint(MARKS):
            return
        if is_loopback(exchange.connection.client):
            self.is_on = False
            header = min(MARKS & exchange.headers.keys()).decode()
            self._log.warning(
                "proxy_on_this_machine", header=header,
                message="Calls come through a proxy on this machine, which could be taken for the "
                "gateway's own user: set ADMIN_TRUST_LOOPBACK to false.",
            )  # fmt: skip
