"""Who may administer: a token, or the machine itself under conditions that a browser cannot meet.

Loopback alone proves nothing: a proxy on the same machine, or a web page in a browser on it, also
comes from 127.0.0.1. So a call without a token must carry no forwarding header, no foreign
`Origin`, a local `Host` (against DNS rebinding) and, when it changes something, a JSON body,
which a page of another origin cannot send without asking first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from basic_inference_server.core.errors import Forbidden, TooManyAttempts, Unauthorized
from basic_inference_server.core.tokens import ADMIN
from basic_inference_server.gateway.token_gate import HOW, TokenGate

FORWARDING_HEADERS = frozenset({
    "HTTP_FORWARDED", "HTTP_FORWARDED_FOR", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_CLIENT_IP",
    "HTTP_X_CLIENT_IP", "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_X_ORIGINAL_FORWARDED_FOR",
    "HTTP_X_ORIGINAL_HOST", "HTTP_X_PROXYUSER_IP", "HTTP_X_ENVOY_EXTERNAL_ADDRESS",
    "HTTP_CF_CONNECTING_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_FASTLY_CLIENT_IP", "HTTP_CDN_LOOP",
})  # fmt: skip
FORWARDING_PREFIX = "HTTP_X_FORWARDED"


def is_loopback(address: str) -> bool:
    """Say whether an address is this machine's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def is_local_name(host: str) -> bool:
    """Say whether a `Host` value, port included or not, names this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


class AccessRules:
    """Decides about administration calls."""

    def __init__(
        self, gate: TokenGate, *, admin_open: bool, trust_loopback: bool, status_open: bool
    ) -> None:
        self._gate = gate
        self._admin_open = admin_open
        self._trust_loopback = trust_loopback
        self._status_open = status_open

    def require_reader(self, environ: Mapping[str, str]) -> None:
        """Let anyone read, unless `STATUS_OPEN` is false.

        Raises:
            Unauthorized, TooManyAttempts, Forbidden: see `require_administrator`.
        """
        if not self._status_open:
            self.require_administrator(environ, changes=False)

    def may_administer(self, environ: Mapping[str, str]) -> bool:
        """Say whether the caller could also read what only administrators may.

        A wrong token counts as an attempt, but takes nothing from a caller that needs none.
        """
        try:
            self.require_administrator(environ, changes=False)
        except (Unauthorized, Forbidden, TooManyAttempts):
            return False
        return True

    def require_administrator(self, environ: Mapping[str, str], *, changes: bool) -> None:
        """Let administrators pass.

        Raises:
            Unauthorized: the token is not valid, or is missing where one is needed.
            TooManyAttempts: too many wrong tokens came from there.
            Forbidden: the token is not for administration, or a call from this machine without
                one breaks one of the conditions.
        """
        if self._admin_open:
            return
        authorization = environ.get("HTTP_AUTHORIZATION")
        client = environ.get("REMOTE_ADDR", "")
        if authorization is not None:
            self._gate.admit(authorization, ADMIN, client)
            return
        if not self._trust_loopback or not is_loopback(client):
            raise Unauthorized(f"Administration from here needs a token; {HOW}.", reason="missing")
        self._require_local_call(environ, changes=changes)

    def _require_local_call(self, environ: Mapping[str, str], *, changes: bool) -> None:
        forwarded = next(
            (
                name
                for name in environ
                if name in FORWARDING_HEADERS or name.startswith(FORWARDING_PREFIX)
            ),
            None,
        )
        if forwarded is not None:
            header = forwarded.removeprefix("HTTP_").replace("_", "-").title()
            raise Forbidden(f"The call was forwarded ({header}); administration needs a token.")
        if not is_local_name(environ.get("HTTP_HOST", "")):
            raise Forbidden("Host does not name this machine; administration needs a token.")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.partition("//")[2] != environ.get("HTTP_HOST"):
            raise Forbidden("Origin is another site; administration needs a token.")
        media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if changes and (
            environ.get("REQUEST_METHOD") != "POST" or media_type != "application/json"
        ):
            raise Forbidden(
                "Without a token this has to be a POST with Content-Type: application/json."
            )
