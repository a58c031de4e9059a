"""The gateway's side of the quarantine: which bodies are refused, and whose body killed a worker.

Costs a request nothing unless its endpoint has a body in quarantine, and then a digest only where
the length fits.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from basic_inference_server.core.errors import Quarantined
from basic_inference_server.core.fingerprints import fingerprint_of, reference_of
from basic_inference_server.core.topology import Route

MAX_DEPARTED = 64
MAX_DEPARTED_BYTES = 8 * 2**20
MAX_KEPT_BODY_BYTES = 2**20
Body = bytes | bytearray


def require_harmless(route: Route, body: Body, quarantined: Mapping[str, int]) -> None:
    """Let a body pass that is not in quarantine.

    Args:
        route: whom it is for.
        body: what would be executed.
        quarantined: fingerprint -> length of what is refused.

    Raises:
        Quarantined: executing it has killed its worker twice.
    """
    if len(body) not in quarantined.values():
        return
    fingerprint = fingerprint_of(body)
    if fingerprint in quarantined:
        reference = reference_of(fingerprint)
        raise Quarantined(
            f"This request has killed a worker of {route.signature} twice and is not executed "
            f"again; an administrator can release it as {reference}.",
            reference=reference,
        )


def describe_strike(route: Route, body: Body, request_id: str, cause: str) -> dict[str, Any]:
    """Return what the supervisor is told of a body that has killed a worker."""
    keeps_body = route.quarantine_keeps_body and len(body) <= MAX_KEPT_BODY_BYTES
    return {
        "signature": route.signature,
        "fingerprint": fingerprint_of(body),
        "length": len(body),
        "request_id": request_id,
        "cause": cause,
        "body": base64.b64encode(body).decode("ascii") if keeps_body else None,
    }


class Departed:
    """Requests that nobody waits for any more, while a worker may still die of them.

    A hung worker is only ended after its caller has had a 504; one may also crash after its caller
    has left.
    """

    def __init__(self) -> None:
        self._requests: OrderedDict[int, tuple[Route, Body, str]] = OrderedDict()
        self._bytes = 0

    def remember(self, call: int, route: Route, body: Body, request_id: str) -> None:
        """Keep a request for a while; the oldest go when there are many."""
        if len(body) > MAX_DEPARTED_BYTES:
            return
        self._requests[call] = (route, body, request_id)
        self._bytes += len(body)
        while len(self._requests) > MAX_DEPARTED or self._bytes > MAX_DEPARTED_BYTES:
            _, (_, oldest, _) = self._requests.popitem(last=False)
            self._bytes -= len(oldest)

    def take(self, call: int) -> tuple[Route, Body, str] | None:
        """Return a request whose worker has died, once."""
        found = self._requests.pop(call, None)
        if found is not None:
            self._bytes -= len(found[1])
        return found
