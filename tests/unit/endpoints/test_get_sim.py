"""Unit tests of endpoints/get_sim.py: input checks and the search, on vectors made here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from endpoints.get_sim import DATA_FOLDER, MAX_WORD_CHARS, WordVectors, topn_of, word_of

# Directions at 0, 10, 90 and 180 degrees, of different lengths, and a word without a direction.
WORDS = ["east", "nearly", "north", "west", "nowhere"]
ROWS = np.array([[2, 0], [9.848, 1.736], [0, 5], [-1, 0], [0, 0]], dtype=np.float32)


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(WORDS, ROWS)


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


def test_nearest_orders_by_cosine_without_the_word(vectors: WordVectors) -> None:
    """Neighbours come best first, whatever their length, and never include the word itself."""
    found = vectors.nearest("east", 3)
    assert ["nearly", "north", "nowhere"] == [word for word, _ in found]
    assert [0.9848, 0.0, 0.0] == pytest.approx([cosine for _, cosine in found], abs=1e-4)


def test_nearest_returns_no_more_than_there_is(vectors: WordVectors) -> None:
    """Asking for more neighbours than there are words brings all the others."""
    assert ["nearly", "north", "nowhere", "west"] == [w for w, _ in vectors.nearest("east", 100)]


def test_nearest_of_a_word_without_direction_is_a_number(vectors: WordVectors) -> None:
    """A vector of zeros is similar to nothing and brings no NaN."""
    assert {0.0} == {cosine for _, cosine in vectors.nearest("nowhere", 4)}


def test_nearest_scores_are_plain_floats(vectors: WordVectors) -> None:
    """Scores are Python floats, which JSON takes."""
    assert {float} == {type(cosine) for _, cosine in vectors.nearest("east", 4)}


@pytest.mark.parametrize("word", ["north", "North", "NORTH"])
def test_known_form_ignores_capitals_that_the_model_has_not(
    vectors: WordVectors, word: str
) -> None:
    """A word that the vocabulary has only in lower case is found with capitals as well."""
    assert "north" == vectors.known_form(word)


def test_known_form_keeps_capitals_that_the_model_has() -> None:
    """Where the vocabulary has both spellings the given one is used."""
    vectors = WordVectors(["turkey", "Turkey"], np.eye(2, dtype=np.float32))
    assert "Turkey" == vectors.known_form("Turkey")


def test_known_form_names_the_unknown_word(vectors: WordVectors) -> None:
    """A word outside the vocabulary is refused by name, with the size of the vocabulary."""
    with pytest.raises(ValueError, match="WORD 'up' is not among the 5 words of the model"):
        vectors.known_form("up")


def test_vectors_and_words_must_match() -> None:
    """A file with more words than vectors is refused instead of answering wrongly."""
    with pytest.raises(ValueError, match="2 words, but 5 vectors"):
        WordVectors(["a", "b"], ROWS)


def test_shipped_file_has_the_documented_form() -> None:
    """The shipped vectors are 20,000 different plain words with 50 bytes each, up to 127."""
    with np.load(DATA_FOLDER / "glove20k_i8.npz", allow_pickle=False) as archive:
        words = str(archive["words"]).split("\n")
        codes = archive["vec"]
    assert 20_000 == len(set(words)) == len(words)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert ((20_000, 50), np.dtype(np.int8)) == (codes.shape, codes.dtype)
    assert {127} == set(np.abs(codes.astype(np.int16)).max(axis=1).tolist())
