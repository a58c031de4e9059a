"""Unit tests of sentences, words, stop words, stems and the language of a text."""

from __future__ import annotations

import pytest

from endpoints._natural_text import Languages, normalised, split_sentences, words_of


@pytest.fixture(scope="module")
def languages() -> Languages:
    return Languages(("en", "ro"), default="ro")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met J. R. Tolkien. It rained.", ["Dr. Smith met J. R. Tolkien.", "It rained."]),
        ("He came to the U.S. in May. He left.", ["He came to the U.S. in May.", "He left."]),
        ("It is 3.5 km. Far.", ["It is 3.5 km.", "Far."]),
        ("Well... but no. Go.", ["Well... but no.", "Go."]),
        ("Vezi art. 5 din lege. Știm noi. Da.", ["Vezi art. 5 din lege.", "Știm noi.", "Da."]),
        ("Dl. Popescu a venit. A plecat.", ["Dl. Popescu a venit.", "A plecat."]),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("A title\n\nA text\nthat goes on.", ["A title", "A text that goes on."]),
        ("... !!! 12", []),
        ("", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    """Abbreviations, initials, decimals and quotes do not mislead it."""
    assert sentences == split_sentences(text)


def test_words_know_their_place() -> None:
    """Hyphens and apostrophes are inside words; digits begin none."""
    text = "It's a two-way x2 4 été."
    assert ["It's", "a", "two-way", "x2", "été"] == [word.text for word in words_of(text)]
    assert all(text[word.start : word.end] == word.text for word in words_of(text))


def test_normalised_text_has_comma_letters_and_no_control_characters() -> None:
    """Old Romanian letters, letters typed apart and NUL are brought into one form."""
    assert "ș ț Ș Ț é a b\n" == normalised("ş ţ Ş Ţ e\u0301 a\x00b\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The hospital hired the nurses.", "en"),
        ("Guvernul a adoptat masuri pentru spitale.", "ro"),
        ("Guvernul a adoptat măsuri și pentru spitale.", "ro"),
        ("Amazon", "ro"),  # nothing speaks for either
    ],
)
def test_language_is_the_one_with_more_small_words(
    languages: Languages, text: str, code: str
) -> None:
    """A text that shows no language has the default one."""
    assert code == languages.recognise(text).code


def test_named_language_wins(languages: Languages) -> None:
    """What the request says is not second-guessed."""
    assert "ro" == languages.choose("ro", "The hospital hired the nurses.").code


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("en", ["battery", "batteries"]),
        ("ro", ["guvernul", "guvernului", "Guvern"]),
        ("ro", ["sănătate", "sanatate"]),
    ],
)
def test_forms_of_a_word_have_one_stem(languages: Languages, code: str, words: list[str]) -> None:
    """Inflection, capitals and missing marks do not matter."""
    assert 1 == len({languages.by_code[code].stem(word) for word in words})


def test_stop_words_have_no_nouns_that_a_text_is_about(languages: Languages) -> None:
    """The package's list is trimmed: a text may well be about a computer."""
    english = languages.by_code["en"]
    assert [True, True, True] == [english.is_stop_word(word) for word in ("The", "don\u2019t", "x")]
    assert [False, False] == [english.is_stop_word(word) for word in ("computer", "research")]
    romanian = languages.by_code["ro"]
    assert [True, True] == [romanian.is_stop_word(word) for word in ("pentru", "ȘI")]


def test_default_language_has_to_be_a_supported_one() -> None:
    """A configuration with another one is refused with the ones there are."""
    with pytest.raises(ValueError, match="LANGUAGE is 'de' in the configuration; it may be en, ro"):
        Languages(("en", "ro"), default="de")
