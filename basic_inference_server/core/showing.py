"""Text of objects that endpoint code has made: they may do anything when they are asked for it."""

from __future__ import annotations

import re
import traceback
from typing import Any, Final

_HALF_CHARACTERS: Final = re.compile("[\ud800-\udfff]")
NO_CHARACTER: Final = "\ufffd"  # what Unicode has for it


def text_of(value: Any, otherwise: str | None = None) -> str:
    """Return `str(value)`; where that fails, `otherwise` or the name of its class."""
    try:
        return str(value)
    except BaseException:  # noqa: BLE001 - it may even raise SystemExit
        return f"<{type(value).__name__} that cannot be shown>" if otherwise is None else otherwise


def trace_of(error: BaseException) -> str:
    """Return an exception with its traceback; where that fails, class, message and traceback."""
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:  # noqa: BLE001 - such as a SyntaxError whose details are no numbers
        frames = "".join(traceback.format_tb(error.__traceback__))
        message = text_of(error, "its message cannot be shown")
        return f"Traceback (most recent call last):\n{frames}{type(error).__name__}: {message}\n"


def whole_characters(text: str) -> str:
    """Return text that UTF-8 can hold: what is only half a character becomes U+FFFD."""
    return _HALF_CHARACTERS.sub(NO_CHARACTER, text)
