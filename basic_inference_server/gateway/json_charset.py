"""Which character sets JSON may be said to be in: UTF-8 by any of its names, and its subset."""

from __future__ import annotations

import re

from basic_inference_server.core.errors import UnsupportedMediaType

UTF8_NAMES = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_CHARSET = re.compile(rb';[ \t]*charset[ \t]*=[ \t]*"?([^";]*)', re.IGNORECASE)


def require_utf8(content_type: bytes) -> None:
    """Refuse JSON of another character set.

    Raises:
        UnsupportedMediaType: the content type names one.
    """
    found = _CHARSET.search(content_type)
    if found is not None and found[1].strip().lower() not in UTF8_NAMES:
        raise UnsupportedMediaType("JSON is read as UTF-8 only; send charset=utf-8.")
