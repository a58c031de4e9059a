"""Unit tests of what the endpoints that read texts accept."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints._text_inputs import (
    count_of,
    language_of,
    one_or_many_texts_of,
    share_of,
    text_of,
)


@pytest.mark.parametrize("text", ["a", "a\x00b", "😀", "مرحبا", "x" * 10])
def test_text_within_the_limit_is_taken_as_it_is(text: str) -> None:
    """Control characters, emoji and right-to-left writing are text too."""
    assert text == text_of({"TEXT": text}, max_chars=10)


@pytest.mark.parametrize(
    ("inputs", "error", "sentence"),
    [
        ({}, ValueError, "TEXT should be defined in inputs"),
        ({"TEXT": 5}, TypeError, "TEXT should be a text, not int"),
        ({"TEXT": None}, TypeError, "TEXT should be a text, not NoneType"),
        ({"TEXT": ["a"]}, TypeError, "TEXT should be a text, not list"),
        ({"TEXT": "x" * 11}, ValueError, "TEXT has 11 characters; at most 10 are taken"),
        ({"TEXT": " \n"}, ValueError, "TEXT is empty"),
        ({"TEXT": "a\ud800"}, ValueError, "half a character"),
    ],
)
def test_other_texts_are_refused_with_the_reason(
    inputs: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The sentence names the field and what is wrong with it."""
    with pytest.raises(error, match=sentence):
        text_of(inputs, max_chars=10)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "give either TEXT, a text, or TEXTS"),
        ({"TEXT": "a", "TEXTS": ["a"]}, "give either TEXT, a text, or TEXTS"),
        ({"TEXTS": "a"}, "TEXTS should be a list of texts, not str"),
        ({"TEXTS": []}, "TEXTS should hold 1 to 2 texts, not 0"),
        ({"TEXTS": ["a"] * 3}, "TEXTS should hold 1 to 2 texts, not 3"),
        ({"TEXTS": ["a", 5]}, r"TEXTS\[1\] should be a text, not int"),
    ],
)
def test_one_or_many_texts_are_wanted(inputs: dict[str, Any], sentence: str) -> None:
    """Neither, both, none, too many and others than texts are refused."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        one_or_many_texts_of(inputs, max_texts=2, max_chars=10)


@pytest.mark.parametrize("value", [1, 7, "7", 100])
def test_count_is_a_whole_number_or_its_digits(value: Any) -> None:
    """A query string brings numbers as text."""
    assert int(value) == count_of({"TOPN": value}, "TOPN", 5, 100)


def test_missing_numbers_are_the_configured_ones() -> None:
    """The default stands where the request says nothing."""
    assert 5 == count_of({}, "TOPN", 5, 100)
    assert pytest.approx(0.4) == share_of({}, "THRESHOLD", 0.4)


@pytest.mark.parametrize("value", [0, 101, -1, 1.5, True, None, "x", "", "1e1", "9" * 5000, [1]])
def test_other_counts_are_refused(value: Any) -> None:
    """The sentence has the limits and the value."""
    with pytest.raises(ValueError, match="TOPN should be a whole number from 1 to 100, not "):
        count_of({"TOPN": value}, "TOPN", 5, 100)


@pytest.mark.parametrize("value", [-0.1, 1.1, True, None, "x", float("nan"), 10**400, [0]])
def test_other_shares_are_refused(value: Any) -> None:
    """A share is a number from 0 to 1."""
    with pytest.raises(ValueError, match="THRESHOLD should be a number from 0 to 1, not "):
        share_of({"THRESHOLD": value}, "THRESHOLD", 0.4)


@pytest.mark.parametrize("key", ["LANGUAGE", "language"])
def test_language_may_be_named_in_either_spelling(key: str) -> None:
    """The seeds use both; without one the text decides."""
    assert "en" == language_of({key: "en"})
    assert language_of({}) is None


@pytest.mark.parametrize("value", ["de", "EN", 5, ["en"], {}])
def test_other_languages_are_refused(value: Any) -> None:
    """The sentence says which there are."""
    with pytest.raises(ValueError, match='LANGUAGE should be "en" or "ro", or left out; not '):
        language_of({"LANGUAGE": value})
