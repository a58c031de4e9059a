"""Unit tests of endpoints/get_sim.py: which table has a word, on tables made here."""

from __future__ import annotations

import numpy as np
import pytest

from endpoints._romanian import Lexicon
from endpoints._word_vectors import WordVectors
from endpoints.get_sim import Tables

ENGLISH_WORDS = ["sea", "big", "mare", "horse", "cat", "romania"]
LEXICON = {
    "mare": ["sea", "big"],
    "pisică": ["cat"],
    "românia": ["romania"],
    "cal": ["horse"],
    "arici": ["hedgehog"],
}


@pytest.fixture
def tables() -> Tables:
    english = WordVectors(ENGLISH_WORDS, np.eye(len(ENGLISH_WORDS), dtype=np.float32))
    return Tables(english, Lexicon(LEXICON))


@pytest.mark.parametrize(
    ("word", "language", "preferred", "expected"),
    [
        pytest.param("mare", None, "ro", ("ro", "mare"), id="in both: the preferred, Romanian"),
        pytest.param("mare", None, "en", ("en", "mare"), id="in both: the preferred, English"),
        pytest.param("mare", "en", "ro", ("en", "mare"), id="in both: the language that is named"),
        pytest.param("Mare", "ro", "en", ("ro", "mare"), id="capitals"),
        pytest.param("cat", None, "ro", ("en", "cat"), id="only English"),
        pytest.param("pisică", None, "en", ("ro", "pisică"), id="only Romanian"),
        pytest.param("pisica", None, "ro", ("ro", "pisică"), id="without diacritics"),
        pytest.param("pisicilor", "ro", "ro", ("ro", "pisică"), id="inflected"),
        pytest.param("romania", None, "ro", ("en", "romania"), id="exact English goes first"),
        pytest.param("romania", "ro", "ro", ("ro", "românia"), id="unless Romanian is named"),
    ],
)
def test_find_takes_the_table_that_has_the_word(
    tables: Tables, word: str, language: str | None, preferred: str, expected: tuple[str, str]
) -> None:
    """The named language decides, or else exact spelling and the preferred language."""
    table, form = tables.find(word, language, preferred)
    assert expected == ("ro" if table is tables.romanian else "en", form)


@pytest.mark.parametrize(
    ("word", "language", "complaint"),
    [
        pytest.param("up", None, "'up' is not among the 6 words of the model, nor", id="nowhere"),
        pytest.param("pisică", "en", "'pisică' is not among the 6 words of the model$", id="en"),
        pytest.param("cat", "ro", "'cat' is not among the 4 Romanian words", id="ro"),
        pytest.param("arici", None, "'arici' is not among", id="its translation has no vector"),
    ],
)
def test_find_names_the_unknown_word(
    tables: Tables, word: str, language: str | None, complaint: str
) -> None:
    """A word outside the tables is refused by name, with the size of what was searched."""
    with pytest.raises(ValueError, match=f"WORD {complaint}"):
        tables.find(word, language, "ro")
