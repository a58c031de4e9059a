"""Reads the fields of a request that the word endpoints share; says what is wrong with them."""

from __future__ import annotations

from typing import Any

ROMANIAN = "ro"
ENGLISH = "en"
LANGUAGES = (ROMANIAN, ENGLISH)
MAX_TOPN = 100
MAX_WORD_CHARS = 100

# For `LANGUAGE` in an endpoint's section: another language will not become right by trying again.
LANGUAGE_RULE: dict[str, Any] = {"INCLUDED_LIST": list(LANGUAGES)}


def checked_language(value: Any) -> str:
    """Return `ro` or `en`, however it was written.

    Raises:
        ValueError: it is something else.
    """
    language = value.strip().lower() if isinstance(value, str) else None
    if language not in LANGUAGES:
        raise ValueError(f'LANGUAGE should be "ro" or "en", not {value!r:.50}')
    return language


def language_of(inputs: dict[str, Any]) -> str | None:
    """Return the language that the request names, in either spelling of the key, if any.

    Raises:
        ValueError: it is neither Romanian nor English.
    """
    value = inputs.get("LANGUAGE", inputs.get("language"))
    return None if value is None else checked_language(value)


def text_of(value: Any, name: str, max_chars: int) -> str:
    """Return a text without surrounding blanks.

    Raises:
        TypeError: it is not a text.
        ValueError: it is blank or too long.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} should be a text, not {type(value).__name__}")
    if len(value) > max_chars:
        raise ValueError(f"{name} has {len(value)} characters; at most {max_chars} are taken")
    text = value.strip()
    if not text:
        raise ValueError(f"{name} is empty")
    return text


def required(inputs: dict[str, Any], name: str) -> Any:
    """Return a field that the request has to have.

    Raises:
        ValueError: it has not.
    """
    if name not in inputs:
        raise ValueError(f"{name} should be defined in inputs")
    return inputs[name]


def texts_of(value: Any, name: str, *, least: int, most: int, max_chars: int) -> list[str]:
    """Return a list of `least` to `most` texts, in order.

    Raises:
        TypeError: it is not a list, or one of its items is not a text.
        ValueError: there are too few or too many, or one is blank or too long.
    """
    if not isinstance(value, list):
        raise TypeError(f"{name} should be a list of texts, not {type(value).__name__}")
    if not least <= len(value) <= most:
        raise ValueError(f"{name} should hold {least} to {most} texts, not {len(value)}")
    return [text_of(item, f"{name}[{number}]", max_chars) for number, item in enumerate(value)]


def word_of(inputs: dict[str, Any]) -> str:
    """Return the request's `WORD` without surrounding blanks.

    Raises:
        TypeError: it is not a text.
        ValueError: there is none, or it has not 1 to `MAX_WORD_CHARS` characters.
    """
    word = required(inputs, "WORD")
    if not isinstance(word, str):
        raise TypeError(f"WORD should be a text, not {type(word).__name__}")
    word = word.strip()
    if not 1 <= len(word) <= MAX_WORD_CHARS:
        raise ValueError(f"WORD should have 1 to {MAX_WORD_CHARS} characters, not {len(word)}")
    return word


def topn_of(inputs: dict[str, Any], default: int) -> int:
    """Return how many results the request wants; a query string brings it as text.

    Raises:
        ValueError: it is not a whole number from 1 to `MAX_TOPN`.
    """
    value = inputs.get("TOPN", default)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        value, is_number = int(value), True
    if not is_number or not 1 <= value <= MAX_TOPN:
        raise ValueError(f"TOPN should be a whole number from 1 to {MAX_TOPN}, not {value!r:.50}")
    return int(value)
