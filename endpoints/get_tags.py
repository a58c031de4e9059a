"""Which tags fit a text, in Romanian or English, by word vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basic_inference_server import FlaskWorker
from endpoints._bilingual import Meaning, Vocabulary
from endpoints._romanian import SHIPPED_LEXICON, read_lexicon
from endpoints._word_inputs import (
    LANGUAGE_RULE,
    MAX_TOPN,
    ROMANIAN,
    checked_language,
    language_of,
    required,
    text_of,
    texts_of,
    topn_of,
)
from endpoints._word_vectors import DATA_FOLDER, SHIPPED_VECTORS, read_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from endpoints._word_vectors import WordVectors

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGE": ROMANIAN,
    "TOPN": 5,
    "MAX_CHARS": 100_000,
    "TAGS": [
        *("politics", "economy", "business", "sports", "medicine", "science", "technology"),
        *("education", "music", "film", "religion", "war", "crime", "weather", "travel", "food"),
    ],
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "TOPN": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": MAX_TOPN},
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 200_000},
        "TAGS": {"TYPE": "list", "MIN_LEN": 1},
    },
}

__WORKER_VER__ = "1.0.0"

MAX_TAGS = 200
MAX_TAG_CHARS = 100
# Arora, Liang and Ma (2017): a word with the probability p counts a / (a + p). The table is sorted
# by frequency and has no counts, so p follows Zipf's law. The value was the best of three on
# twelve sentences about six topics; without these two steps all scores lie close together.
RARE_WORDS_COUNT_MORE = 3e-4
ZIPF_SHIFT = 10.0

Request = tuple[Meaning, str, list[str], int]


class TextVectors:
    """Vectors of whole texts: rare words count more, and what all words share is taken away."""

    def __init__(self, vectors: WordVectors) -> None:
        import numpy as np

        chances = 1.0 / (np.arange(len(vectors.words)) + ZIPF_SHIFT)
        chances /= chances.sum()
        self._weights = RARE_WORDS_COUNT_MORE / (RARE_WORDS_COUNT_MORE + chances)
        centred = vectors.rows - vectors.rows.mean(axis=0)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        self._rows = centred / np.where(lengths > 0, lengths, 1)

    def of(self, meaning: Meaning) -> NDArray[np.float64]:
        """Return a text's vector of length 1."""
        import numpy as np

        weights = np.array(meaning.weights) * self._weights[meaning.rows]
        total: NDArray[np.float64] = weights @ self._rows[meaning.rows].astype("f8")
        unit: NDArray[np.float64] = total / (np.linalg.norm(total) + 1e-9)
        return unit


class GetTagsWorker(FlaskWorker):
    """Answers the `TOPN` of `TAGS` that fit `TEXT` best, with their scores."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[TAGS]", **kwargs)

    def _load_model(self) -> None:
        self.preferred = checked_language(self.cfg_language)
        vectors = read_vectors(DATA_FOLDER / SHIPPED_VECTORS)
        lexicon = read_lexicon(DATA_FOLDER / SHIPPED_LEXICON)
        self.vocabulary = Vocabulary(vectors.row_of, lexicon)
        self.text_vectors = TextVectors(vectors)
        self.default_tags = self._tags_of(self.cfg_tags)

    def _tags_of(self, value: Any) -> list[str]:
        return texts_of(value, "TAGS", least=1, most=MAX_TAGS, max_chars=MAX_TAG_CHARS)

    def _pre_process(self, inputs: dict[str, Any]) -> Request:
        text = text_of(required(inputs, "TEXT"), "TEXT", self.cfg_max_chars)
        tags = self._tags_of(inputs["TAGS"]) if "TAGS" in inputs else self.default_tags
        language = language_of(inputs) or self.vocabulary.language_of([text], self.preferred)
        meaning = self.vocabulary.meaning(text, language)
        if not meaning.rows:
            raise ValueError("the model knows no word of TEXT")
        return meaning, language, tags, topn_of(inputs, self.cfg_topn)

    def _predict(self, prep_inputs: Request) -> dict[str, Any]:
        meaning, language, tags, count = prep_inputs
        of_text = self.text_vectors.of(meaning)
        # Tags may be in another language than the text, as the configured ones mostly are.
        language_of_tags = self.vocabulary.language_of(tags, language)
        meanings = {tag: self.vocabulary.meaning(tag, language_of_tags) for tag in tags}
        scores = {
            tag: float(self.text_vectors.of(of_tag) @ of_text)
            for tag, of_tag in meanings.items()
            if of_tag.rows
        }
        best = sorted(scores, key=lambda tag: -scores[tag])[:count]
        return {
            "tags": [{"tag": tag, "score": round(scores[tag], 4)} for tag in best],
            "unknown_tags": [tag for tag in meanings if tag not in scores],
            "language": language,
        }
