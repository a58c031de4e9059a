"""Unit tests of endpoints/_word_vectors.py: the search, and the shipped file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints._word_vectors import DATA_FOLDER, WordVectors

# Directions at 0, 10, 90 and 180 degrees, of different lengths, and a word without a direction.
WORDS = ["east", "nearly", "north", "west", "nowhere"]
ROWS = np.array([[2, 0], [9.848, 1.736], [0, 5], [-1, 0], [0, 0]], dtype=np.float32)


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(WORDS, ROWS)


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


def test_known_form_of_an_unknown_word_is_none(vectors: WordVectors) -> None:
    """A word outside the vocabulary has no form in it."""
    assert vectors.known_form("up") is None


def test_nearest_of_the_only_word_is_nothing() -> None:
    """In a table of one word there is no other word."""
    assert [] == WordVectors(["alone"], np.ones((1, 2), dtype=np.float32)).nearest("alone", 5)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.integers(1, 9)), max_size=8))
def test_nearest_many_equals_one_by_one(queries: list[tuple[str, int]]) -> None:
    """Words that are looked up together get exactly what they get alone."""
    vectors = WordVectors(WORDS, ROWS)
    alone = [vectors.nearest(word, count) for word, count in queries]
    assert alone == vectors.nearest_many(queries)


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
