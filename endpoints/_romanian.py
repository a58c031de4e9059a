"""Romanian words and their English translations: reading the lexicon, and finding a word in it.

Knows no vectors. A word is found as it is spelled, without its diacritics, and in inflected forms
whose ending leads back to a dictionary form; how endings work is a list of rules, not a grammar.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SHIPPED_LEXICON = "ro_en.tsv"
# Old fonts and keyboards write these letters with a cedilla; the correct ones have a comma.
COMMA_BELOW = str.maketrans({"ş": "ș", "ţ": "ț"})
# Of an inflected form without diacritics: its ending, and what a dictionary form has instead.
ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("urilor", ("",)),
    ("urile", ("",)),
    ("iilor", ("ie", "iu")),
    ("tilor", ("t", "te", "tie")),
    ("ilor", ("", "e", "a", "u")),
    ("elor", ("a", "", "e", "ea")),
    ("tile", ("te", "t")),
    ("iile", ("ie", "iu")),
    ("ile", ("a", "e", "", "i")),
    ("ului", ("", "u")),
    ("elui", ("e",)),
    ("eaza", ("a",)),
    ("este", ("i",)),
    ("oasa", ("os",)),
    ("oase", ("os",)),
    ("oara", ("or",)),
    ("easca", ("esc",)),
    ("toare", ("tor",)),
    ("ati", ("a", "at")),
    ("eti", ("e", "ea", "et")),
    ("iti", ("i", "it")),
    ("and", ("a", "e", "ea")),
    ("ind", ("i", "e")),
    ("esc", ("i",)),
    ("uri", ("", "u")),
    ("lui", ("",)),
    ("iei", ("ie",)),
    ("tii", ("te", "t", "tie")),
    ("ele", ("a", "", "e", "ea")),
    ("zii", ("d", "z")),
    ("ul", ("", "u")),
    ("ua", ("u", "a")),
    ("ii", ("i", "", "ie", "a", "e", "u")),
    ("ei", ("a", "e")),
    ("ea", ("e", "")),
    ("le", ("", "e")),
    ("ia", ("ie",)),
    ("iu", ("i",)),
    ("ti", ("t", "te")),
    ("zi", ("d", "da", "z")),
    ("am", ("a",)),
    ("em", ("e", "ea")),
    ("im", ("i",)),
    ("ez", ("a",)),
    ("at", ("a",)),
    ("it", ("i",)),
    ("ut", ("e", "ea")),
    ("a", ("", "e", "u")),
    ("e", ("a", "", "u")),
    ("i", ("", "a", "e", "u")),
    ("u", ("",)),
)
# What is left of a word without its ending has to say something.
SHORTEST_STEM = 3


def plain(word: str) -> str:
    """Return the one spelling of a Romanian word: lower case, composed, comma below."""
    return unicodedata.normalize("NFC", word.strip().lower()).translate(COMMA_BELOW)


def without_diacritics(word: str) -> str:
    """Return a word as it is typed on a keyboard without Romanian letters."""
    decomposed = unicodedata.normalize("NFD", word)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def dictionary_forms(word: str) -> Iterator[str]:
    """Yield what an inflected form without diacritics may come from, longest endings first."""
    for ending, replacements in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            stem = word[: -len(ending)]
            for replacement in replacements:
                yield stem + replacement


class Lexicon:
    """Romanian words with their English translations."""

    def __init__(self, translations: Mapping[str, list[str]]) -> None:
        self.translations = dict(translations)
        self._by_letters: dict[str, str] = {}
        for word in self.translations:
            self._by_letters.setdefault(without_diacritics(word), word)

    def __len__(self) -> int:
        return len(self.translations)

    def exact(self, word: str) -> str | None:
        """Return the entry that is spelled like `word`, but for capitals and cedillas."""
        spelling = plain(word)
        return spelling if spelling in self.translations else None

    def find(self, word: str) -> str | None:
        """Return the entry for `word`: as spelled, without diacritics, or as an inflected form."""
        spelling = plain(word)
        if spelling in self.translations:
            return spelling
        letters = without_diacritics(spelling)
        forms = (letters, *dictionary_forms(letters))
        return next((self._by_letters[form] for form in forms if form in self._by_letters), None)


def read_lexicon(path: Path) -> Lexicon:
    """Read a file with a word, a tab, and its translations in each line.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no UTF-8, or a line has another form.
    """
    with path.open(encoding="utf-8") as lines:
        return Lexicon(dict(_entries(lines, path.name)))


def _entries(lines: Iterable[str], file_name: str) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(lines, start=1):
        word, tab, translations = line.rstrip("\n").partition("\t")
        if not (word and tab and translations):
            raise ValueError(f"{file_name}, line {number}: expected a word, a tab, translations")
        yield word, translations.split(" ")
