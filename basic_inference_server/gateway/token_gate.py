"""Lets a request with a token pass, or says why not: one for each gateway process."""

from __future__ import annotations

import hmac
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from basic_inference_server.core.clock import monotonic_s, wall_s
from basic_inference_server.core.complaints import Complaints
from basic_inference_server.core.errors import (
    Forbidden,
    ServiceError,
    TooManyAttempts,
    Unauthorized,
)
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.secrets_folder import SecretsError, check_file, check_folder
from basic_inference_server.core.tokens import digest_of, find, run_scope, scoped_signature
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokenStore
from basic_inference_server.gateway.attempts import Attempts

if TYPE_CHECKING:
    from basic_inference_server.gateway.exchange import Exchange

T = TypeVar("T")
SCHEMES = ("bearer", "backendai")
HOW = "send Authorization: Bearer <token>"
ATTEMPTS = frozenset({"invalid", "expired"})
NOT_VALID = f"The token is not valid; {HOW}."


def presented_token(authorization: str) -> str | None:
    """Return the token of an `Authorization` header, or `None` when it is of no scheme of ours."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() in SCHEMES else None


class AdminToken:
    """The digest of the administration token's file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = os.geteuid()
        self._read: tuple[tuple[int, int, int], bytes | None] = ((0, 0, 0), None)

    def digest(self) -> bytes | None:
        """Return the digest of the token; `None` when there is none.

        Raises:
            SecretsError: others may have changed it.
        """
        try:
            status = self._path.lstat()
            check_folder(self._path.parent, self._owner)
            check_file(self._path, status, self._owner)
            fingerprint = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._read[0] != fingerprint:
                secret = self._path.read_bytes().strip()
                self._read = (fingerprint, digest_of(secret) if secret else None)
        except OSError:
            return None
        return self._read[1]


class TokenGate:
    """Checks tokens, and limits how often somebody may be wrong."""

    def __init__(
        self,
        admin_token_path: Path,
        log: EventLog,
        now_s: Callable[[], float] = wall_s,
        attempts: Attempts | None = None,
    ) -> None:
        self.store = TokenStore(admin_token_path.with_name(TOKENS_FILE), now_s)
        self._admin_token = AdminToken(admin_token_path)
        self._log = log
        self._now_s = now_s
        self._attempts = attempts or Attempts()
        self._complaints = Complaints()

    def look(self) -> None:
        """Say now, and not to the first caller, that the tokens cannot be read."""
        self._read(self._admin_token.digest)
        self._read(self.store.tokens)

    def require_run(self, signature: str, exchange: Exchange) -> None:
        """Let whoever may run that endpoint pass.

        Raises:
            Unauthorized, Forbidden, TooManyAttempts: see `admit`.
        """
        authorization = exchange.headers.get(b"authorization")
        if authorization is None:
            raise Unauthorized(f"{signature} needs a token; {HOW}.", reason="missing")
        client = exchange.connection.client
        self.admit(authorization.decode("latin-1"), run_scope(signature), client)

    def admit(self, authorization: str, scope: str, client: str) -> None:
        """Let a caller pass whose token allows `scope`.

        Raises:
            Unauthorized: the token is not valid, or has expired, or cannot be checked.
            TooManyAttempts: the same, once too often from there.
            Forbidden: the token is valid, but not for this.
        """
        objection = self._objection(authorization, scope)
        if objection is None:
            return
        if objection.details.get("reason") in ATTEMPTS:
            raise self._failure(client, objection)
        raise objection

    def allows(self, authorization: str, scope: str) -> bool:
        """Say whether a token allows `scope`; to be wrong is no attempt."""
        return self._objection(authorization, scope) is None

    def _objection(self, authorization: str, scope: str) -> ServiceError | None:
        """Return what is wrong with a token, or that it is not for this."""
        secret = presented_token(authorization)
        if not secret:
            return Unauthorized(NOT_VALID, reason="invalid")
        digest = digest_of(secret.encode("latin-1", "backslashreplace"))
        admin_digest = self._read(self._admin_token.digest)
        if isinstance(admin_digest, bytes) and hmac.compare_digest(admin_digest, digest):
            return None
        tokens = self._read(self.store.tokens)
        token = None if isinstance(tokens, SecretsError) else find(tokens, digest)
        if token is None:
            if isinstance(tokens, SecretsError) or isinstance(admin_digest, SecretsError):
                return Unauthorized(
                    "The token cannot be checked, because the gateway cannot read its tokens; "
                    "its log says why.",
                    reason="unreadable",
                )
            return Unauthorized(NOT_VALID, reason="invalid")
        if token.has_expired(self._now_s()):
            return Unauthorized("The token has expired; ask for a new one.", reason="expired")
        if not token.allows(scope):
            signature = scoped_signature(scope)
            deed = "administer" if signature is None else f"run {signature}"
            return Forbidden(f"This token may not {deed}.", scope=scope)
        return None

    def _failure(self, client: str, objection: ServiceError) -> ServiceError:
        """Count a wrong token; return what is answered."""
        too_many = self._attempts.fail(client)
        if too_many is None:
            return objection
        retry_after_s = math.ceil(too_many.retry_after_s)
        if too_many.is_news:
            self._log.warning(
                "attempts_refused", client=too_many.source, retry_after_s=retry_after_s
            )
        return TooManyAttempts(
            "Too many wrong tokens came from your address; a valid one is accepted at any time.",
            retry_after_s=retry_after_s,
        )

    def _read(self, read: Callable[[], T]) -> T | SecretsError:
        """Return what is read, or why it cannot be, which is said in the log."""
        try:
            return read()
        except SecretsError as error:
            problem = str(error)
            if self._complaints.is_due(problem, monotonic_s()):
                self._log.error("tokens_unreadable", error=problem)
            return error
