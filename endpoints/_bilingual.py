"""Romanian and English over one table of English vectors.

A Romanian word has the mean of its translations' vectors. Knows no requests.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from endpoints._romanian import Lexicon, without_diacritics
from endpoints._stop_words import ENGLISH_STOP_WORDS, ROMANIAN_STOP_WORDS
from endpoints._word_inputs import ENGLISH, ROMANIAN
from endpoints._word_vectors import WordVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

LETTERS = re.compile(r"[^\W\d_]+")
STOP_WORDS = {ENGLISH: ENGLISH_STOP_WORDS, ROMANIAN: ROMANIAN_STOP_WORDS}
# Romanian stop words that are English words with a meaning say nothing about the language.
ENGLISH_TOO = {"ale", "cam", "care", "cat", "cite", "era", "mine", "pot", "sale", "tale"}
ONLY_ROMANIAN = ROMANIAN_STOP_WORDS - ENGLISH_STOP_WORDS - ENGLISH_TOO
ONLY_ENGLISH = ENGLISH_STOP_WORDS - ROMANIAN_STOP_WORDS
# Shorter words of a Romanian text that its lexicon lacks are left-over pieces, not English.
SHORTEST_BORROWED = 4


@dataclass(frozen=True)
class Meaning:
    """What a text's words point to.

    Attributes:
        rows: rows of English words.
        weights: how much each of them counts; those of one Romanian word count 1 together.
        unknown: the words that have no vector, as they were written.
        known_share: the share of the words that have one, without stop words.
    """

    rows: list[int]
    weights: list[float]
    unknown: list[str]
    known_share: float


def tokens(text: str) -> list[str]:
    """Return a text's words: runs of letters, in one Unicode form, as they were written."""
    return LETTERS.findall(unicodedata.normalize("NFC", text))


class Vocabulary:
    """Finds the rows of words in both languages."""

    def __init__(self, row_of: dict[str, int], lexicon: Lexicon) -> None:
        self._row_of = row_of
        self._lexicon = lexicon

    def rows_of(self, word: str, language: str) -> list[int]:
        """Return the rows that `word` means: in `language`, or else in the other one."""
        if language == ENGLISH:
            return self._english(word) or self._romanian(self._lexicon.exact(word))
        rows = self._romanian(self._lexicon.find(word))
        return rows or (self._english(word) if len(word) >= SHORTEST_BORROWED else [])

    def _english(self, word: str) -> list[int]:
        row = self._row_of.get(without_diacritics(word.lower()))
        return [] if row is None else [row]

    def _romanian(self, entry: str | None) -> list[int]:
        translations = self._lexicon.translations[entry] if entry else []
        return [self._row_of[word] for word in translations if word in self._row_of]

    def language_of(self, texts: Iterable[str], preferred: str) -> str:
        """Return the language that more of the words speak for.

        Stop words that only one language has decide; where there are none, the words that only
        one language knows; where these are as many, it is `preferred`.
        """
        counts = Counter(word for text in texts for word in tokens(text))
        romanian = english = 0
        for word, count in counts.items():
            letters = without_diacritics(word.lower())
            romanian += count * (letters in ONLY_ROMANIAN)
            english += count * (letters in ONLY_ENGLISH)
        if romanian == english:
            for word, count in counts.items():
                in_romanian, in_english = self._lexicon.find(word), self._english(word)
                romanian += count * (in_romanian is not None and not in_english)
                english += count * (in_romanian is None and bool(in_english))
        if romanian == english:
            return preferred
        return ROMANIAN if romanian > english else ENGLISH

    def meaning(self, text: str, language: str) -> Meaning:
        """Return the rows of a text's words; of stop words only where it has no others."""
        words = tokens(text)
        different = set(words)
        stop_words = STOP_WORDS[language]
        telling = {w for w in different if without_diacritics(w.lower()) not in stop_words}
        rows_of = {word: self.rows_of(word, language) for word in telling or different}
        counted = [word for word in words if word in rows_of]
        rows: list[int] = []
        weights: list[float] = []
        unknown: list[str] = []
        for word in counted:
            found = rows_of[word]
            if not found:
                unknown.append(word)
            rows.extend(found)
            weights.extend(1 / len(found) for _ in found)
        share = 1 - len(unknown) / len(counted) if counted else 0.0
        return Meaning(rows, weights, unknown, share)


def romanian_vectors(english: WordVectors, lexicon: Lexicon) -> WordVectors:
    """Return a table of the lexicon's words; those without a known translation are left out."""
    import numpy as np

    found = {
        word: rows
        for word, translations in lexicon.translations.items()
        if (rows := [english.row_of[name] for name in translations if name in english.row_of])
    }
    table: NDArray[np.float32] = np.zeros((len(found), english.rows.shape[1]), dtype=np.float32)
    for number, rows in enumerate(found.values()):
        table[number] = english.rows[rows].mean(axis=0)
    return WordVectors(list(found), table)
