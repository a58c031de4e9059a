"""Decides for each error how much of it its caller is told; costs nothing without an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from basic_inference_server.core.error_detail import (
    LOG_HAS_IT,
    Detail,
    Reason,
    failure_told,
    reason_told,
)
from basic_inference_server.core.errors import BadJson, EndpointError
from basic_inference_server.wire.error_body import RAISED
from basic_inference_server.wire.json_codec import decode_object, encode

if TYPE_CHECKING:
    from basic_inference_server.core.topology import Route
    from basic_inference_server.gateway.exchange import Exchange


class ErrorTeller:
    """Knows `ERROR_DETAIL`, and who is told everything."""

    def __init__(self, error_detail: str, may_administer: Callable[[Exchange], bool]) -> None:
        self._detail = Detail(error_detail)
        self._may_administer = may_administer

    def detail_for(self, exchange: Exchange) -> Detail:
        """Return how much the caller of a request is told."""
        if self._detail is Detail.FULL or self._may_administer(exchange):
            return Detail.FULL
        return self._detail

    def failure(self, exchange: Exchange, signature: str, body: bytes) -> bytes:
        """Return the body of a worker's error as its caller is told it."""
        try:
            fields = decode_object(body)
        except BadJson:  # a worker that we do not know
            return body
        raised, message = fields.pop(RAISED, None), str(fields.get("ERROR"))
        detail, request_id = self.detail_for(exchange), exchange.request_id.decode("ascii")
        if fields.get("code") == EndpointError.code:
            message = failure_told(message, raised, signature, request_id, detail)
        elif raised is not None and detail is not Detail.FULL:
            # What we say of it ourselves comes first, then what was raised.
            message = f"{message.partition(': ')[0]}; {LOG_HAS_IT} (request id {request_id})."
        fields["ERROR"] = message
        return encode(fields)

    def reason(self, exchange: Exchange, route: Route) -> str | None:
        """Return why an endpoint is not there, as a caller is told it."""
        if route.last_error is None:
            return None
        reason = route.last_error
        if route.last_error_brief is not None:
            reason = Reason(reason, route.last_error_brief)
        return reason_told(reason, self.detail_for(exchange))
