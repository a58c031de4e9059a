"""English and Romanian text as pieces: sentences, words, stop words, stems."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

# A word: letters, with hyphens and apostrophes between them, and digits after the first letter.
WORD = re.compile(r"[^\W\d_][^\W_]*(?:[-'\u2019][^\W_]+)*")
# Looking back keeps it from trying every point of a row: 100,000 of them would take 80 s.
SENTENCE_END = re.compile(r"(?<![.!?\u2026])[.!?\u2026]+[\"'\u2019\u201d\u00bb)\]]*(?=\s)|\n\s*\n")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
LAST_WORD = re.compile(r"[^\W_][\w.-]*$")
MIDDLE_OF_SENTENCE = re.compile(r"[a-zăâîșț]|[,;:]")


def _words(block: str) -> frozenset[str]:
    return frozenset(block.split())


# A point after these ends no sentence. Single letters (J. R. Smith) are seen without a list.
ABBREVIATIONS = _words("""
    mr mrs ms dr prof st jr sr vs inc ltd corp dept approx e.g i.e u.s u.k gen capt sen rep dl dna
    d-na d-l bd jud mun ing ec conf univ acad ș.a cca op.cit str
""")
BEFORE_NUMBERS = _words("""
    no vol fig pp nr art alin lit bl sc ap tel jan feb mar apr jun jul aug sep sept oct nov dec ian
    iun iul noi
""")
# Romanian is written with the comma letters; old keyboards had the cedilla ones.
CEDILLA_TO_COMMA = str.maketrans("şŞţŢ", "șȘțȚ")
# stopwordsiso's English list has nouns that a text may well be about.
NO_STOP_WORDS = _words("""
    area areas bill case cases computer face faces fire goods group groups home homepage html http
    index information interest interests invention member members microsoft mill mine netscape
    novel page pages place places problem problems research ring room rooms shell site sites state
    states system test text value webpage website work world young
""")


def normalised(text: str) -> str:
    """Return `text` composed, with Romanian's comma letters and without characters of control."""
    text = unicodedata.normalize("NFC", text).translate(CEDILLA_TO_COMMA)
    return "".join(
        " " if unicodedata.category(c) == "Cc" and c not in "\t\n\r" else c for c in text
    )


def without_marks(word: str) -> str:
    """Return `word` without diacritics, as many people type Romanian."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; an empty line ends one too."""
    sentences, start = [], 0
    for end in SENTENCE_END.finditer(text):
        if _is_no_end(text, end):
            continue
        sentences.append(text[start : end.end()])
        start = end.end()
    sentences.append(text[start:])
    flat = (" ".join(sentence.split()) for sentence in sentences)
    return [sentence for sentence in flat if WORD.search(sentence)]


def _is_no_end(text: str, end: re.Match[str]) -> bool:
    """Say whether a point belongs to an abbreviation, or the sentence goes on behind it."""
    if not end[0].startswith("."):
        return False
    following = text[end.end() : end.end() + 20].lstrip()[:1]
    if MIDDLE_OF_SENTENCE.match(following):
        return True
    if end[0] != ".":
        return False
    last = LAST_WORD.search(text[max(0, end.start() - 12) : end.start()])
    word = last[0].lower() if last else ""
    if word in BEFORE_NUMBERS:
        return following.isdigit()
    return word in ABBREVIATIONS or (len(word) == 1 and word.isalpha())


@dataclass(frozen=True)
class Word:
    """A word of a text and where it stands."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """Return the words of a text in their order."""
    return [Word(found[0], found.start(), found.end()) for found in WORD.finditer(text)]


class Language:
    """Stop words and stems of one language.

    Raises:
        ImportError: stopwordsiso or snowballstemmer is not installed.
    """

    SNOWBALL_NAMES = {"en": "english", "ro": "romanian"}  # noqa: RUF012 - never changed

    def __init__(self, code: str) -> None:
        import snowballstemmer
        import stopwordsiso

        words = {normalised(word).lower() for word in stopwordsiso.stopwords(code)}
        self.code = code
        self.own_spelling = frozenset(words)
        self.stop_words = (words | {without_marks(word) for word in words}) - NO_STOP_WORDS
        self._stemmer: Any = snowballstemmer.stemmer(self.SNOWBALL_NAMES[code])
        self._stem = cache(self._stemmer.stemWord)

    def is_stop_word(self, word: str) -> bool:
        """Say whether a word carries little meaning of its own."""
        return len(word) < 2 or word.lower().replace("\u2019", "'") in self.stop_words

    def stem(self, word: str) -> str:
        """Return what the inflected forms of a word have in common.

        Without diacritics, so that a Romanian text may have them or not. The stems of one request
        are kept until `forget_stems`.
        """
        stem: str = without_marks(self._stem(word.lower()))
        return stem

    def forget_stems(self) -> None:
        """Drop the kept stems: words come from requests and would fill the memory."""
        self._stem.cache_clear()

    def content_stems(self, text: str) -> list[str]:
        """Return the stems of the words that carry meaning, in their order."""
        return [self.stem(w.text) for w in words_of(text) if not self.is_stop_word(w.text)]


class Languages:
    """Every supported language, and which of them a text is written in.

    Raises:
        ImportError: stopwordsiso or snowballstemmer is not installed.
        ValueError: the default language is not one of them.
    """

    def __init__(self, codes: Iterable[str], default: str) -> None:
        self.by_code = {code: Language(code) for code in codes}
        if default not in self.by_code:
            known = ", ".join(self.by_code)
            raise ValueError(f"LANGUAGE is {default!r} in the configuration; it may be {known}")
        self.default = default
        # Words that only one language has: "a" and "are" say nothing. And in full spelling: "cat"
        # is Romanian only for those who leave out the marks.
        every = Counter(w for language in self.by_code.values() for w in language.own_spelling)
        self._own_words = {
            code: {word for word in language.own_spelling if every[word] == 1}
            for code, language in self.by_code.items()
        }

    def recognise(self, text: str) -> Language:
        """Return the language with more of its own stop words in the text, or the default."""
        words = [word.text.lower() for word in words_of(text[:20_000])]
        counts = {code: sum(word in own for word in words) for code, own in self._own_words.items()}
        best = max(counts.values())
        winners = [code for code, count in counts.items() if count == best]
        return self.by_code[winners[0] if len(winners) == 1 else self.default]

    def choose(self, code: str | None, text: str) -> Language:
        """Return the language that was asked for, else the one of the text."""
        return self.by_code[code] if code else self.recognise(text)
