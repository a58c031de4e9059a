"""Every failure that a client can see: one class, one HTTP status, one stable code.

Knows no transport. The status says whose fault it is; `executed` says whether endpoint code
ran, and `retryable` whether sending the same request again can help.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ServiceError(Exception):
    """Base of all client-visible errors; the message is one sentence a person can act on."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    executed: str = "no"

    def __init__(self, message: str, *, executed: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if executed is not None:
            self.executed = executed


class BadRequest(ServiceError):
    """The bytes are not an HTTP request that this server reads."""

    status, code = 400, "bad_request"


class BadJson(ServiceError):
    """The body is not JSON, not UTF-8 or not an object."""

    status, code = 400, "bad_json"


class MissingSignature(ServiceError):
    """The request does not say which endpoint it is for."""

    status, code = 400, "missing_signature"


class Unauthorized(ServiceError):
    """A token is needed and is missing, unknown or expired."""

    status, code = 401, "unauthorized"


class Forbidden(ServiceError):
    """The caller may not do this, or not from there."""

    status, code = 403, "forbidden"


class UnknownSignature(ServiceError):
    """There is no endpoint of that name."""

    status, code = 404, "unknown_signature"


class NotFound(ServiceError):
    """There is no such route."""

    status, code = 404, "not_found"


class MethodNotAllowed(ServiceError):
    """The route exists, but not for this method."""

    status, code = 405, "method_not_allowed"


class RequestTimeout(ServiceError):
    """The caller took too long to send its request (RFC 9110, section 15.5.9)."""

    status, code, retryable = 408, "request_timeout", True


class BodyTooLarge(ServiceError):
    """The body is larger than `MAX_BODY_BYTES`."""

    status, code = 413, "body_too_large"


class UriTooLong(ServiceError):
    """The request target is longer than the gateway reads."""

    status, code = 414, "uri_too_long"


class UnsupportedMediaType(ServiceError):
    """No decoder takes this content type or content encoding."""

    status, code = 415, "unsupported_media_type"


class BadInput(ServiceError):
    """The endpoint refused the inputs before it predicted anything."""

    status, code = 422, "bad_input"


class Quarantined(ServiceError):
    """Executing this very request has killed its worker twice."""

    status, code = 422, "quarantined"


class TooManyAttempts(ServiceError):
    """Too many wrong tokens came from that address; a valid one is still accepted."""

    status, code, retryable = 429, "too_many_attempts", True


class HeadersTooLarge(ServiceError):
    """The header section is larger than the gateway reads."""

    status, code = 431, "headers_too_large"


class InternalError(ServiceError):
    """A fault of the engine itself; never the caller's."""

    status, code, executed = 500, "internal_error", "unknown"


class EndpointError(ServiceError):
    """The endpoint's own code raised."""

    status, code, executed = 500, "endpoint_error", "yes"


class WorkerDied(ServiceError):
    """The worker process ended while it had the request."""

    status, code, retryable, executed = 502, "worker_died", False, "unknown"


class NotReady(ServiceError):
    """The endpoint does not take requests now."""

    status, code, retryable = 503, "not_ready", True


class Overloaded(ServiceError):
    """The endpoint's queue is full."""

    status, code, retryable = 503, "overloaded", True


class ShuttingDown(ServiceError):
    """The gateway is going down."""

    status, code, retryable = 503, "shutting_down", True


class StorageUnavailable(ServiceError):
    """A file of the gateway cannot be read or written: a full disk, or who may use it."""

    status, code, retryable = 503, "storage_unavailable", True


class CallCircle(ServiceError):
    """An endpoint wants to call one that waits for it (508, RFC 5842, section 7.2)."""

    status, code = 508, "call_circle"


class DeadlineExceeded(ServiceError):
    """There was no answer in time."""

    status, code, executed = 504, "deadline_exceeded", "unknown"
