"""How a support process proves that it is one: a password of its own for each run of a gateway.

It is handed over as a netrc file, which `requests` reads by itself: programs that know nothing of
it send it along (HTTP Basic). It lets a program report for itself, and do nothing else. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

VARIABLE: Final = "NETRC"


def password_of(key: str, name: str) -> str:
    """Return the password of the support process of that name; `key` is the run's secret."""
    return hmac.digest(key.encode(), name.encode(), "sha256").hex()


def netrc(key: str, name: str, host: str) -> str:
    """Return the content of a netrc file with which it logs in at `host`."""
    return f"machine {host} login {name} password {password_of(key, name)}\n"


def reporter(key: str, authorization: str | None) -> str | None:
    """Return which support process an `Authorization` header is of; `None` when it is of none."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic" or not key:
        return None
    try:
        login, _, password = base64.b64decode(credentials).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    is_right = hmac.compare_digest(password.encode(), password_of(key, login).encode())
    return login if is_right else None
