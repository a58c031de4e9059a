"""Words that are spelled nearly like a word: Romanian or English, by difflib's ratio."""

from __future__ import annotations

from collections import Counter
from difflib import SequenceMatcher
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._romanian import SHIPPED_LEXICON, plain, read_lexicon, without_diacritics
from endpoints._word_inputs import (
    ENGLISH,
    LANGUAGE_RULE,
    LANGUAGES,
    ROMANIAN,
    checked_language,
    language_of,
    topn_of,
    word_of,
)
from endpoints._word_vectors import DATA_FOLDER, SHIPPED_VECTORS, read_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "TOPN": 5,
    "CUTOFF": 0.8,
    "LANGUAGE": ROMANIAN,
    "VALIDATION_RULES": {
        "TOPN": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100},
        "CUTOFF": {"TYPE": "number", "MIN_VAL": 0.5, "MAX_VAL": 1},
        "LANGUAGE": LANGUAGE_RULE,
    },
}

__WORKER_VER__ = "1.0.0"

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
ROUNDING = 1e-9


class Close(NamedTuple):
    """A word that is spelled nearly like the wanted one."""

    word: str
    score: float
    language: str


class Spellings:
    """The words of one language, compared in lower case and without diacritics."""

    def __init__(self, words: list[str], language: str) -> None:
        import numpy as np

        self.words = words
        self.language = language
        self.letters = [without_diacritics(word) for word in words]
        self._lengths = np.array([len(letters) for letters in self.letters])
        counters = [Counter(letters) for letters in self.letters]
        self._counts = np.array([[of.get(x, 0) for x in ALPHABET] for of in counters], dtype="i1")

    def close_to(self, letters: str, cutoff: float) -> list[Close]:
        """Return the words whose ratio with `letters` is `cutoff` or more."""
        matcher = SequenceMatcher(autojunk=False)
        matcher.set_seq2(letters)
        found: list[Close] = []
        for row in (self._upper_bounds(letters) >= cutoff - ROUNDING).nonzero()[0].tolist():
            matcher.set_seq1(self.letters[row])
            if (score := matcher.ratio()) >= cutoff:
                found.append(Close(self.words[row], score, self.language))
        return found

    def _upper_bounds(self, letters: str) -> NDArray[np.float64]:
        """Return a bound of each ratio: letters in common, whatever their order.

        It is difflib's `quick_ratio`, for all words at once: comparing each of 20,000 words takes
        40 times as long as comparing those that this leaves over.
        """
        import numpy as np

        counter = Counter(letters)
        wanted = np.array([min(counter.get(x, 0), 127) for x in ALPHABET], dtype="i1")
        common = np.minimum(self._counts, wanted).sum(axis=1, dtype="i4")
        # A letter beyond a to z may be in common too, in a word that has one.
        common = common + (self._lengths - self._counts.sum(axis=1, dtype="i4"))
        bounds: NDArray[np.float64] = 2.0 * common / (self._lengths + len(letters))
        return bounds


class GetAproxWorker(FlaskWorker):
    """Answers up to `TOPN` words that are spelled nearly like `WORD`, best first."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[APRX]", **kwargs)

    def _load_model(self) -> None:
        self.preferred = checked_language(self.cfg_language)
        romanian = list(read_lexicon(DATA_FOLDER / SHIPPED_LEXICON).translations)
        english = read_words(DATA_FOLDER / SHIPPED_VECTORS)
        self.spellings = {
            ROMANIAN: Spellings(romanian, ROMANIAN),
            ENGLISH: Spellings(english, ENGLISH),
        }
        self.P(f"{len(romanian)} Romanian and {len(english)} English words")

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[str, str | None, int]:
        return word_of(inputs), language_of(inputs), topn_of(inputs, self.cfg_topn)

    def _predict(self, prep_inputs: tuple[str, str | None, int]) -> list[Close]:
        word, language, count = prep_inputs
        spelling = plain(word)
        letters = without_diacritics(spelling)
        found = [
            close
            for of_one in LANGUAGES
            if language in (None, of_one)
            for close in self.spellings[of_one].close_to(letters, self.cfg_cutoff)
        ]

        def rank(close: Close) -> tuple[float, bool, bool]:
            """Order by score; the word as it was written first, then the preferred language."""
            return -close.score, close.word != spelling, close.language != self.preferred

        return nsmallest(count, found, key=rank)

    def _post_process(self, pred: list[Close]) -> list[dict[str, Any]]:
        return [{**close._asdict(), "score": round(close.score, 4)} for close in pred]
