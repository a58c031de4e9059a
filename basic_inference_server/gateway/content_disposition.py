"""The header that offers an answer as a file (RFC 6266)."""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes

_UNSAFE = re.compile(rb"[^A-Za-z0-9._ ()-]")


def attachment(file_name: bytes) -> bytes:
    """Return the header line for a file name in UTF-8: for every client, and for those since 2011.

    Only the last part of a path is offered, and nothing in it can end the line.
    """
    name = file_name.replace(b"\\", b"/").rpartition(b"/")[2]
    if not name:
        return b"content-disposition: attachment\r\n"
    plain = _UNSAFE.sub(b"_", name)
    encoded = quote_from_bytes(name, safe="").encode("ascii")
    return b"content-disposition: attachment; filename=\"%b\"; filename*=UTF-8''%b\r\n" % (
        plain, encoded,
    )  # fmt: skip
