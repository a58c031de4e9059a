"""Unit tests of endpoints/_word_inputs.py: what a request may hold, and what is said otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints._word_inputs import MAX_WORD_CHARS, language_of, text_of, texts_of, topn_of, word_of


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({"WORD": "king"}, "king", id="word"),
        pytest.param({"WORD": " king\n"}, "king", id="blanks around it"),
        pytest.param({"WORD": "a" * MAX_WORD_CHARS}, "a" * MAX_WORD_CHARS, id="longest"),
    ],
)
def test_word_of_accepts(inputs: dict[str, Any], expected: str) -> None:
    """A word is taken without the blanks around it."""
    assert expected == word_of(inputs)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        pytest.param({}, "WORD should be defined", id="absent"),
        pytest.param({"WORD": 5}, "WORD should be a text, not int", id="number"),
        pytest.param({"WORD": "  "}, "1 to 100 characters, not 0", id="blank"),
        pytest.param({"WORD": "a" * 101}, "1 to 100 characters, not 101", id="too long"),
    ],
)
def test_word_of_refuses(inputs: dict[str, Any], complaint: str) -> None:
    """What is no word is refused with what is wrong."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        word_of(inputs)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({}, 5, id="the configured number"),
        pytest.param({"TOPN": 1}, 1, id="smallest"),
        pytest.param({"TOPN": 100}, 100, id="largest"),
        pytest.param({"TOPN": "7"}, 7, id="from a query string"),
    ],
)
def test_topn_of_accepts(inputs: dict[str, Any], expected: int) -> None:
    """A whole number from 1 to 100 is taken, also as text."""
    assert expected == topn_of(inputs, 5)


@pytest.mark.parametrize("value", [0, 101, -1, 2.5, True, None, "", "x", "-1", "9999", [3]])
def test_topn_of_refuses(value: Any) -> None:
    """Everything else is refused with the limits."""
    with pytest.raises(ValueError, match="TOPN should be a whole number from 1 to 100"):
        topn_of({"TOPN": value}, 5)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({}, None, id="absent"),
        pytest.param({"LANGUAGE": None}, None, id="null"),
        pytest.param({"LANGUAGE": "ro"}, "ro", id="Romanian"),
        pytest.param({"language": "en"}, "en", id="small letters, as in the seeds"),
        pytest.param({"LANGUAGE": " EN "}, "en", id="capitals and blanks"),
    ],
)
def test_language_of_accepts(inputs: dict[str, Any], expected: str | None) -> None:
    """Romanian and English are taken, in either spelling of the key."""
    assert expected == language_of(inputs)


@pytest.mark.parametrize("value", ["fr", "", 5, ["ro"], "ro\0", True, "e" * 1000])
def test_language_of_refuses(value: Any) -> None:
    """Every other language is refused with the two that there are."""
    with pytest.raises(ValueError, match='LANGUAGE should be "ro" or "en", not') as caught:
        language_of({"LANGUAGE": value})
    assert 120 > len(str(caught.value))


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        pytest.param(5, "X should be a text, not int", id="number"),
        pytest.param("  ", "X is empty", id="blank"),
        pytest.param("a" * 11, "X has 11 characters; at most 10 are taken", id="too long"),
    ],
)
def test_text_of_refuses(value: Any, complaint: str) -> None:
    """What is no text within the limit is refused with what is wrong."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        text_of(value, "X", 10)


def test_texts_of_keeps_the_order() -> None:
    """Texts come back in order, without the blanks around them."""
    assert ["b", "a"] == texts_of([" b", "a\n"], "X", least=1, most=2, max_chars=10)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        pytest.param("ab", "X should be a list of texts, not str", id="text"),
        pytest.param({"a": 1}, "X should be a list of texts, not dict", id="object"),
        pytest.param([], "X should hold 1 to 2 texts, not 0", id="too few"),
        pytest.param(["a", "b", "c"], "X should hold 1 to 2 texts, not 3", id="too many"),
        pytest.param(["a", 5], r"X\[1\] should be a text, not int", id="a number among them"),
        pytest.param(["a", ""], r"X\[1\] is empty", id="an empty one among them"),
    ],
)
def test_texts_of_refuses(value: Any, complaint: str) -> None:
    """A list with something wrong in it is refused with the place of it."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        texts_of(value, "X", least=1, most=2, max_chars=10)
