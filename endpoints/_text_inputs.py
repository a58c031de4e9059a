"""What the endpoints that read texts accept, and the sentences with which they refuse the rest."""

from __future__ import annotations

import re
from typing import Any

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LANGUAGES = ("en", "ro")
# For `LANGUAGE` in an endpoint's section: another language will not become right by trying again.
LANGUAGE_RULE: dict[str, Any] = {"INCLUDED_LIST": list(LANGUAGES)}


def text_of(inputs: dict[str, Any], max_chars: int, name: str = "TEXT") -> str:
    """Return the request's text `name`.

    Raises:
        TypeError: it is not a text.
        ValueError: there is none, only blanks, or too much of it.
    """
    if name not in inputs:
        raise ValueError(f"{name} should be defined in inputs")
    return checked_text(name, inputs[name], max_chars)


def checked_text(name: str, text: Any, max_chars: int) -> str:
    """Return `text` when it is one, with something in it and within the limit.

    Raises:
        TypeError, ValueError: it is not; the message says where and what.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} should be a text, not {type(text).__name__}")
    if len(text) > max_chars:
        raise ValueError(f"{name} has {len(text)} characters; at most {max_chars} are taken")
    if not text.strip():
        raise ValueError(f"{name} is empty; give it a text with words")
    if not text.isascii() and LONE_SURROGATE.search(text):
        raise ValueError(f"{name} has half a character (a lone surrogate); send whole ones")
    return text


def text_list_of(
    inputs: dict[str, Any], max_texts: int, max_chars: int, name: str = "TEXTS"
) -> list[str]:
    """Return the request's list of texts `name`.

    Raises:
        TypeError: it is no list of texts.
        ValueError: it is empty, has too many texts, or one that is empty or too long.
    """
    texts = inputs[name]
    if not isinstance(texts, list):
        raise TypeError(f"{name} should be a list of texts, not {type(texts).__name__}")
    if not 1 <= len(texts) <= max_texts:
        raise ValueError(f"{name} should hold 1 to {max_texts} texts, not {len(texts)}")
    return [checked_text(f"{name}[{n}]", text, max_chars) for n, text in enumerate(texts)]


def one_or_many_texts_of(inputs: dict[str, Any], max_texts: int, max_chars: int) -> list[str]:
    """Return the texts of a request: its one `TEXT`, or all of its `TEXTS`.

    Raises:
        TypeError: one of them is not a text.
        ValueError: neither or both are given, or one is empty or over a limit.
    """
    if ("TEXT" in inputs) == ("TEXTS" in inputs):
        raise ValueError("give either TEXT, a text, or TEXTS, a list of texts")
    if "TEXT" in inputs:
        return [text_of(inputs, max_chars)]
    return text_list_of(inputs, max_texts, max_chars)


def count_of(inputs: dict[str, Any], name: str, default: int, largest: int) -> int:
    """Return the whole number `name`; a query string brings it as text.

    Raises:
        ValueError: it is not a whole number from 1 to `largest`.
    """
    value = inputs.get(name, default)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 6:
        value, is_number = int(value), True
    if not is_number or not 1 <= value <= largest:
        raise ValueError(f"{name} should be a whole number from 1 to {largest}, not {value!r:.50}")
    return int(value)


def share_of(inputs: dict[str, Any], name: str, default: float) -> float:
    """Return the number `name` from 0 to 1; a query string brings it as text.

    Raises:
        ValueError: it is not a number from 0 to 1.
    """
    value = inputs.get(name, default)
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 <= number <= 1:  # also refuses NaN
        raise ValueError(f"{name} should be a number from 0 to 1, not {value!r:.50}")
    return number


def language_of(inputs: dict[str, Any]) -> str | None:
    """Return the language that the request names, in capitals or small letters, if it does.

    Raises:
        ValueError: it names one that is not supported.
    """
    language = inputs.get("LANGUAGE", inputs.get("language"))
    if language is not None and language not in LANGUAGES:
        known = " or ".join(f'"{name}"' for name in LANGUAGES)
        raise ValueError(f"LANGUAGE should be {known}, or left out; not {language!r:.50}")
    return language
