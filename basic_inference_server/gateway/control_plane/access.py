"""Who may administer: the holder of a token, or a program of the gateway's own user.

Without a token a call has to come from this machine and meet the conditions of `local_call`, which
a browser, a proxy and other users' programs cannot meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basic_inference_server.core.errors import Forbidden, TooManyAttempts, Unauthorized
from basic_inference_server.core.support_key import reporter
from basic_inference_server.core.tokens import ADMIN
from basic_inference_server.gateway.control_plane.local_call import is_loopback, objection
from basic_inference_server.gateway.token_gate import HOW, TokenGate


class AccessRules:
    """Decides about administration calls."""

    def __init__(
        self,
        gate: TokenGate,
        *,
        admin_open: bool,
        trust_loopback: bool,
        status_open: bool,
        support_key: str = "",
    ) -> None:
        self._gate = gate
        self._support_key = support_key
        self._admin_open = admin_open
        self._trust_loopback = trust_loopback
        self._status_open = status_open

    def require_reader(self, environ: Mapping[str, Any]) -> None:
        """Let anyone read, unless `STATUS_OPEN` is false.

        Raises:
            Unauthorized, TooManyAttempts, Forbidden: see `require_administrator`.
        """
        if not self._status_open:
            self.require_administrator(environ, changes=False)

    def is_administrator(self, environ: Mapping[str, Any]) -> bool:
        """Say the same of a caller who wants something else; a wrong token is no attempt then."""
        authorization = environ.get("HTTP_AUTHORIZATION")
        if self._admin_open or authorization is None or self.reporter(environ) is not None:
            return self.may_administer(environ)
        return self._gate.allows(authorization, ADMIN)

    def may_administer(self, environ: Mapping[str, Any]) -> bool:
        """Say whether the caller could also read what only administrators may.

        A wrong token counts as an attempt, but takes nothing from a caller that needs none.
        """
        try:
            self.require_administrator(environ, changes=False)
        except (Unauthorized, Forbidden, TooManyAttempts):
            return False
        return True

    def require_administrator(self, environ: Mapping[str, Any], *, changes: bool) -> None:
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
        # A support process sends its password along with everything; it is for reports only.
        if authorization is not None and self.reporter(environ) is None:
            self._gate.admit(authorization, ADMIN, client)
            return
        if not self._trust_loopback or not is_loopback(client):
            raise Unauthorized(f"Administration from here needs a token; {HOW}.", reason="missing")
        reason = objection(environ, changes=changes)
        if reason is not None:
            raise Forbidden(reason)

    def require_token(self, environ: Mapping[str, Any]) -> None:
        """Let those pass who send a token for administration; nothing else will do.

        A token outlives the setting or the program that let its maker in.

        Raises:
            Unauthorized, TooManyAttempts, Forbidden: as `require_administrator`.
        """
        authorization = environ.get("HTTP_AUTHORIZATION")
        if authorization is None:
            raise Unauthorized(
                f"This needs a token of the scope admin from everyone; {HOW}, or use "
                "python -m basic_inference_server tokens on the gateway's machine.",
                reason="missing",
            )
        self._gate.admit(authorization, ADMIN, environ.get("REMOTE_ADDR", ""))

    def reporter(self, environ: Mapping[str, Any]) -> str | None:
        """Return the support process that the call is known to come from, if it is one."""
        return reporter(self._support_key, environ.get("HTTP_AUTHORIZATION"))
