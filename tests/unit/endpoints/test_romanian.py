"""Unit tests of endpoints/_romanian.py: how a Romanian word is found in the lexicon."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints._romanian import (
    SHIPPED_LEXICON,
    Lexicon,
    dictionary_forms,
    plain,
    read_lexicon,
    without_diacritics,
)
from endpoints._word_vectors import DATA_FOLDER, SHIPPED_VECTORS, read_words


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return read_lexicon(DATA_FOLDER / SHIPPED_LEXICON)


@pytest.mark.parametrize(
    "word",
    [
        pytest.param("țară", id="as spelled"),
        pytest.param("ţară", id="with the old cedilla"),
        pytest.param("t\u0326ară", id="with a combining comma"),
        pytest.param("ȚARĂ", id="in capitals"),
        pytest.param(" tara ", id="without diacritics"),
    ],
)
def test_find_is_about_the_word_and_not_its_spelling(lexicon: Lexicon, word: str) -> None:
    """One word that is written in several ways is found in all of them."""
    assert "țară" == lexicon.find(word)


@pytest.mark.parametrize(
    ("inflected", "expected"),
    [
        ("pisica", "pisică"),
        ("pisicile", "pisică"),
        ("pisicilor", "pisică"),
        ("câinele", "câine"),
        ("băiatului", "băiat"),
        ("cartea", "carte"),
        ("cărții", "carte"),
        ("munților", "munte"),
        ("orașelor", "oraș"),
        ("universității", "universitate"),
        ("frumoase", "frumos"),
        ("lucrează", "lucra"),
        ("iubește", "iubi"),
        ("scriem", "scrie"),
        ("bolnavii", "bolnav"),
    ],
)
def test_find_leads_inflected_forms_back(lexicon: Lexicon, inflected: str, expected: str) -> None:
    """Articles, cases, plurals and persons are recognized by their endings."""
    assert expected == lexicon.find(inflected)


@pytest.mark.parametrize("word", ["", "a", "xyzzy", "😀", "\0", "שלום", "ul", "e" * 1000])
def test_find_of_what_is_no_romanian_word_is_none(lexicon: Lexicon, word: str) -> None:
    """What the lexicon has in no form is not found, and does no harm."""
    assert lexicon.find(word) is None


def test_exact_wants_the_diacritics(lexicon: Lexicon) -> None:
    """Exact means spelled as in the lexicon, but for capitals and cedillas."""
    assert ("țară", "țară", None) == tuple(map(lexicon.exact, ("Țară", "ţară", "tara")))


@given(st.text(max_size=30))
def test_dictionary_forms_shorten_or_keep_the_stem(word: str) -> None:
    """Whatever the word, each form starts with three of its letters."""
    assert all(word[:3] == form[:3] for form in dictionary_forms(word))


@given(st.text(max_size=30))
def test_plain_is_the_last_word(word: str) -> None:
    """Making a spelling plain twice changes nothing more."""
    assert plain(word) == plain(plain(word)) or "İ" in word.upper()


def test_without_diacritics_keeps_other_letters() -> None:
    """Only the marks go."""
    assert "aaistAZ" == without_diacritics("ăâîșțAZ")


def test_shipped_lexicon_is_in_its_one_form(lexicon: Lexicon) -> None:
    """Each shipped word is plain and sorted, and each of its translations has a vector."""
    words = list(lexicon.translations)
    assert sorted(words) == words
    assert 2354 == len(words)
    assert words == list(map(plain, words))
    vocabulary = set(read_words(DATA_FOLDER / SHIPPED_VECTORS))
    assert all(vocabulary.issuperset(names) for names in lexicon.translations.values())


@pytest.mark.parametrize("line", ["word", "word\t", "\tword", ""])
def test_read_lexicon_names_the_wrong_line(tmp_path: Path, line: str) -> None:
    """A line of another form is refused with file and number."""
    path = tmp_path / "own.tsv"
    path.write_text(f"cal\thorse\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"own.tsv, line 2: expected a word, a tab, translations"):
        read_lexicon(path)
