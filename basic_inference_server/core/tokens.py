"""Tokens: who may run endpoints or administer, and until when. Pure: no files, no clock.

Only the SHA-256 of a token is kept. Plain SHA-256 is right here, unlike for passwords: a token is
256 random bits, so nobody can try candidates against a stolen digest, and a slow hash would only
make every request slow. Expiry is by the wall clock on purpose: it has to mean the same instant
after a restart and on the machine of whoever reads it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from basic_inference_server.core.topology import is_signature

PREFIX: Final = "bis_"  # lets a scanner of repositories and logs recognise a token
ADMIN: Final = "admin"
RUN_ANY: Final = "run:*"
RUN_PREFIX: Final = "run:"
SCOPE_FORMS: Final = "admin, run:* or run:<signature>"
MAX_TOKENS: Final = 1000
MAX_SCOPES: Final = 32
MAX_NAME: Final = 100
DEFAULT_LIFETIME_S: Final = 90 * 86400
MAX_LIFETIME_S: Final = 3660 * 86400
UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NEVER: Final = "never"
_ID = re.compile(r"[0-9a-f]{8}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_FIELDS = frozenset({"id", "name", "sha256", "scopes", "created", "expires"})


@dataclass(frozen=True)
class Token:
    """What is known of a token without knowing it. Times are seconds of the wall clock."""

    id: str
    name: str
    digest: bytes = field(repr=False)
    scopes: tuple[str, ...]
    created_s: int
    expires_s: int | None

    def allows(self, scope: str) -> bool:
        """Say whether the token may do what needs `scope`."""
        held = self.scopes
        if ADMIN in held or scope in held:
            return True
        return RUN_ANY in held and scope.startswith(RUN_PREFIX)

    def has_expired(self, now_s: float) -> bool:
        """Say whether its time is over."""
        return self.expires_s is not None and now_s >= self.expires_s

    def to_entry(self) -> dict[str, Any]:
        """Return the token as it is kept in the file."""
        return {
            "id": self.id,
            "name": self.name,
            "sha256": self.digest.hex(),
            "scopes": list(self.scopes),
            "created": self.created_s,
            "expires": self.expires_s,
        }

    @classmethod
    def from_entry(cls, entry: Any) -> Token:
        """Rebuild a token from `to_entry`.

        Raises:
            ValueError: a field is missing or wrong; the message does not show what it holds.
        """
        if not isinstance(entry, Mapping) or entry.keys() != _FIELDS:
            raise ValueError(f"expected an object with {', '.join(sorted(_FIELDS))}")
        if not _matches(_ID, entry["id"]):
            raise ValueError("id: expected 8 hexadecimal digits")
        if not _matches(_DIGEST, entry["sha256"]):
            raise ValueError("sha256: expected 64 hexadecimal digits")
        created, expires = entry["created"], entry["expires"]
        if not _is_time(created) or (expires is not None and not _is_time(expires)):
            raise ValueError("created, expires: expected seconds since 1970")
        return cls(
            id=entry["id"],
            name=checked_name(entry["name"]),
            digest=bytes.fromhex(entry["sha256"]),
            scopes=checked_scopes(entry["scopes"]),
            created_s=created,
            expires_s=expires,
        )


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    # Below the year 10000, which no date of Python can show.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 253402300800


def run_scope(signature: str) -> str:
    """Return the scope that running an endpoint needs."""
    return RUN_PREFIX + signature


def scoped_signature(scope: str) -> str | None:
    """Return the endpoint that a scope is for; `None` when it is for no single one."""
    if scope in {ADMIN, RUN_ANY}:
        return None
    return scope.removeprefix(RUN_PREFIX)


def checked_scopes(value: Any) -> tuple[str, ...]:
    """Return the scopes, each once.

    Raises:
        ValueError: it is no list of scopes, or there are none or too many.
    """
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= MAX_SCOPES:
        raise ValueError(f"SCOPES must be a list of 1 to {MAX_SCOPES} texts: {SCOPE_FORMS}")
    if not all(_is_scope(scope) for scope in value):
        raise ValueError(f"a scope is {SCOPE_FORMS}")
    return tuple(dict.fromkeys(value))


def _is_scope(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if value in {ADMIN, RUN_ANY}:
        return True
    return value.startswith(RUN_PREFIX) and is_signature(value.removeprefix(RUN_PREFIX))


def checked_name(value: Any) -> str:
    """Return the name that people give a token.

    Raises:
        ValueError: it is no text, is empty or too long, or could garble a terminal.
    """
    if isinstance(value, str) and value.strip() and len(value) <= MAX_NAME and value.isprintable():
        return value
    raise ValueError(f"NAME must be a text of 1 to {MAX_NAME} printable characters")


def duration_s(text: str) -> int | None:
    """Return the seconds of a text such as `30d`, `12h` or `90m`; `None` for `never`.

    Raises:
        ValueError: it is none of these, or is longer than ten years.
    """
    if text == NEVER:
        return None
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * UNIT_S[found[2]] if found else 0
    if not 1 <= seconds <= MAX_LIFETIME_S:
        raise ValueError(
            f"expected a number and s, m, h or d, such as 90d, up to 3660d; or {NEVER}"
        )
    return seconds


def instant_s(text: str) -> int:
    """Return the seconds of the wall clock of an ISO 8601 time with its zone.

    Raises:
        ValueError: it is no such time.
    """
    # Python 3.10 does not read the Z.
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if moment.tzinfo is None:
        raise ValueError("the time zone is missing, such as Z")
    return int((moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) / timedelta(seconds=1))


def instant_text(seconds: int | None) -> str | None:
    """Return a time of the wall clock in ISO 8601, in UTC; `None` stays `None`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest_of(secret: bytes) -> bytes:
    """Return what is kept and compared instead of the token; any bytes have one."""
    return hashlib.sha256(secret).digest()


def mint(
    name: str,
    scopes: Sequence[str],
    now_s: float,
    expires_s: int | None,
    taken_ids: Collection[str] = (),
) -> tuple[Token, str]:
    """Return a new token's record and the token itself, which is kept nowhere.

    Raises:
        ValueError: a name or scope is wrong, or the expiry is not in the time to come.
    """
    if expires_s is not None and not now_s < expires_s <= now_s + MAX_LIFETIME_S:
        raise ValueError("the expiry must lie in the next 3660 days; null means never")
    secret = PREFIX + secrets.token_urlsafe(32)
    identity = secrets.token_hex(4)
    while identity in taken_ids:
        identity = secrets.token_hex(4)
    token = Token(
        id=identity,
        name=checked_name(name),
        digest=digest_of(secret.encode()),
        scopes=checked_scopes(scopes),
        created_s=int(now_s),
        expires_s=expires_s,
    )
    return token, secret


def find(tokens: Iterable[Token], digest: bytes) -> Token | None:
    """Return the token of that digest; every candidate is compared, in constant time."""
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found
