"""Unit tests of endpoints/_bilingual.py: from texts to rows, with a small vocabulary."""

from __future__ import annotations

import numpy as np
import pytest

from endpoints._bilingual import Vocabulary, romanian_vectors, tokens
from endpoints._romanian import Lexicon
from endpoints._word_vectors import WordVectors

ENGLISH_WORDS = ["cat", "sea", "big", "hamlet", "are", "the", "dog"]
LEXICON = Lexicon({"pisică": ["cat"], "mare": ["sea", "big"], "sec": ["dry"], "câine": ["dog"]})


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary({word: row for row, word in enumerate(ENGLISH_WORDS)}, LEXICON)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("The cat's 2 eyes.", ["The", "cat", "s", "eyes"], id="words"),
        pytest.param("într-o țară", ["într", "o", "țară"], id="hyphen"),
        pytest.param("a\u0306 c_d", ["ă", "c", "d"], id="combining mark"),
        pytest.param("😀 \0 123 --", [], id="no letters"),
        pytest.param("שלום עולם", ["שלום", "עולם"], id="right to left"),
    ],
)
def test_tokens_are_runs_of_letters(text: str, expected: list[str]) -> None:
    """Letters of any script make words; everything else is between them."""
    assert expected == tokens(text)


@pytest.mark.parametrize(
    ("texts", "preferred", "expected"),
    [
        pytest.param(["What is this?"], "ro", "en", id="English stop words"),
        pytest.param(["Care este aceasta?"], "en", "ro", id="Romanian stop words"),
        pytest.param(["cat", "dog"], "ro", "en", id="words of English only"),
        pytest.param(["pisica", "cainele"], "en", "ro", id="words of Romanian only"),
        pytest.param(["mare"], "en", "ro", id="a word that is not English"),
        pytest.param(["xyzzy"], "en", "en", id="unknown: the preferred, English"),
        pytest.param(["xyzzy"], "ro", "ro", id="unknown: the preferred, Romanian"),
        pytest.param([], "ro", "ro", id="nothing at all"),
    ],
)
def test_language_is_what_more_words_speak_for(
    vocabulary: Vocabulary, texts: list[str], preferred: str, expected: str
) -> None:
    """Stop words decide, then words that one language has, then the preference."""
    assert expected == vocabulary.language_of(texts, preferred)


def test_meaning_of_a_romanian_word_shares_its_weight(vocabulary: Vocabulary) -> None:
    """Two translations of one word count half each."""
    meaning = vocabulary.meaning("Marea și pisica", "ro")
    assert [1, 2, 0] == meaning.rows
    assert [0.5, 0.5, 1] == meaning.weights
    assert ([], 1.0) == (meaning.unknown, meaning.known_share)


def test_meaning_counts_a_repeated_word_as_often_as_it_comes(vocabulary: Vocabulary) -> None:
    """A word that comes twice counts twice, in its places."""
    assert [0, 6, 0] == vocabulary.meaning("cat dog cat", "en").rows


def test_meaning_leaves_out_stop_words_but_not_all(vocabulary: Vocabulary) -> None:
    """Stop words count only where there is nothing else."""
    assert [0] == vocabulary.meaning("the cat", "en").rows
    assert [5] == vocabulary.meaning("the", "en").rows


def test_meaning_names_the_words_it_does_not_know(vocabulary: Vocabulary) -> None:
    """Unknown words are shown as they were written, with the share of the known ones."""
    meaning = vocabulary.meaning("the Xyzzy cat 7", "en")
    assert (["Xyzzy"], 0.5) == (meaning.unknown, meaning.known_share)


@pytest.mark.parametrize("text", ["", "123", "😀"])
def test_meaning_of_no_words_is_empty(vocabulary: Vocabulary, text: str) -> None:
    """A text without words has no rows and knows nothing."""
    meaning = vocabulary.meaning(text, "en")
    assert ([], [], [], 0.0) == (
        meaning.rows,
        meaning.weights,
        meaning.unknown,
        meaning.known_share,
    )


@pytest.mark.parametrize(
    ("word", "language", "expected"),
    [
        pytest.param("Hamlet", "ro", [3], id="a name in a Romanian text"),
        pytest.param("are", "ro", [], id="a short Romanian word is not English"),
        pytest.param("pisică", "en", [0], id="an exact Romanian word in an English text"),
        pytest.param("pisicile", "en", [], id="an inflected one is not"),
        pytest.param("sec", "ro", [], id="its translation has no vector"),
    ],
)
def test_rows_of_falls_back_to_the_other_language(
    vocabulary: Vocabulary, word: str, language: str, expected: list[int]
) -> None:
    """What a language does not have is looked up in the other one, with care."""
    assert expected == vocabulary.rows_of(word, language)


def test_romanian_vectors_are_means_of_translations() -> None:
    """A Romanian word lies between its translations; one without any is left out."""
    english = WordVectors(ENGLISH_WORDS, np.eye(len(ENGLISH_WORDS), dtype=np.float32))
    romanian = romanian_vectors(english, LEXICON)
    assert ["pisică", "mare", "câine"] == romanian.words
    half = 0.5**0.5
    assert [0, half, half, 0, 0, 0, 0] == pytest.approx(romanian.rows[1].tolist())


def test_romanian_vectors_of_a_foreign_table_are_none() -> None:
    """Over a table that has no translation there are no Romanian words, and no failure."""
    english = WordVectors(["xyzzy"], np.ones((1, 2), dtype=np.float32))
    assert [] == romanian_vectors(english, LEXICON).words
