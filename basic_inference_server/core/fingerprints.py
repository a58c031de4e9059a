"""What a request body is known by when it has killed workers: its fingerprint and reference."""

from __future__ import annotations

import hashlib

FINGERPRINT_DIGITS = 32
REFERENCE_DIGITS = 16


def fingerprint_of(body: bytes | bytearray) -> str:
    """Return the SHA-256 digest of a body, 32 hexadecimal digits of it."""
    return hashlib.sha256(body).hexdigest()[:FINGERPRINT_DIGITS]


def reference_of(fingerprint: str) -> str:
    """Return the short name by which an administrator releases a body."""
    return f"q-{fingerprint[:REFERENCE_DIGITS]}"
