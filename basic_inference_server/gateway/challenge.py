"""Says in a header what token is asked for (RFC 6750, section 3)."""

from __future__ import annotations

from basic_inference_server.core.errors import Forbidden, ServiceError, Unauthorized

REALM = 'Bearer realm="basic_inference_server"'
DESCRIPTIONS = {"invalid": "The token is not valid", "expired": "The token has expired"}


def challenge(error: ServiceError) -> str | None:
    """Return the value of `WWW-Authenticate`; `None` when the error is not about a token."""
    if isinstance(error, Unauthorized):
        description = DESCRIPTIONS.get(error.details.get("reason", ""))
        if description is None:
            return REALM
        return f'{REALM}, error="invalid_token", error_description="{description}"'
    if isinstance(error, Forbidden) and "scope" in error.details:
        return f'{REALM}, error="insufficient_scope", scope="{error.details["scope"]}"'
    return None
