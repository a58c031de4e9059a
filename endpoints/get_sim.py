"""Words similar to a word, in Romanian or English, by the cosine of their vectors."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker
from endpoints._bilingual import romanian_vectors
from endpoints._romanian import SHIPPED_LEXICON, Lexicon, read_lexicon
from endpoints._word_inputs import (
    ENGLISH,
    LANGUAGE_RULE,
    ROMANIAN,
    checked_language,
    language_of,
    topn_of,
    word_of,
)
from endpoints._word_vectors import DATA_FOLDER, SHIPPED_VECTORS, WordVectors, read_vectors

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "TOPN": 5,
    "LANGUAGE": ROMANIAN,
    "VECTORS": SHIPPED_VECTORS,
    "LEXICON": SHIPPED_LEXICON,
    "VALIDATION_RULES": {
        "TOPN": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100},
        "LANGUAGE": LANGUAGE_RULE,
        "VECTORS": {"TYPE": "str", "MIN_LEN": 1},
        "LEXICON": {"TYPE": "str", "MIN_LEN": 1},
    },
}

__WORKER_VER__ = "1.1.0"

Query = tuple[WordVectors, str, int]


class Tables:
    """The English table and the Romanian one over it, and which of them has a word."""

    def __init__(self, english: WordVectors, lexicon: Lexicon) -> None:
        self.english = english
        self.lexicon = lexicon
        self.romanian = romanian_vectors(english, lexicon)

    def find(self, word: str, language: str | None, preferred: str) -> tuple[WordVectors, str]:
        """Return the table that has `word`, and the word as that table spells it.

        Without a language a word that is spelled exactly so in the preferred language is taken
        there, then one of the other language, then a Romanian word without diacritics or inflected.

        Raises:
            ValueError: no table that may be asked has it.
        """
        exact = {
            ROMANIAN: (self.romanian, self._romanian(self.lexicon.exact(word))),
            ENGLISH: (self.english, self.english.known_form(word)),
        }
        anyhow = (self.romanian, self._romanian(self.lexicon.find(word)))
        if language == ENGLISH:
            order = [exact[ENGLISH]]
        elif language == ROMANIAN:
            order = [anyhow]
        else:
            other = ENGLISH if preferred == ROMANIAN else ROMANIAN
            order = [exact[preferred], exact[other], anyhow]
        for table, form in order:
            if form is not None:
                return table, form
        raise ValueError(self._unknown(word, language))

    def _romanian(self, entry: str | None) -> str | None:
        return entry if entry in self.romanian.row_of else None

    def _unknown(self, word: str, language: str | None) -> str:
        if language == ROMANIAN:
            return (
                f"WORD {word!r} is not among the {len(self.romanian.words)} Romanian words of the "
                'lexicon; LANGUAGE "en" is for English ones'
            )
        nor = f", nor among the {len(self.romanian.words)} Romanian ones of the lexicon"
        return f"WORD {word!r} is not among the {len(self.english.words)} words of the model" + (
            "" if language else nor
        )


class GetSimWorker(FlaskWorker):
    """Answers the `TOPN` words most similar to `WORD` as a list of `word` and `score`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[GSIM]", **kwargs)

    def _load_model(self) -> None:
        self.preferred = checked_language(self.cfg_language)
        path = DATA_FOLDER / self.cfg_vectors  # an absolute VECTORS stands for itself
        self.tables = Tables(read_vectors(path), read_lexicon(DATA_FOLDER / self.cfg_lexicon))
        counts = [len(table.words) for table in (self.tables.english, self.tables.romanian)]
        self.P(f"{counts[0]} word vectors from {path.name}, {counts[1]} Romanian words over them")

    def _pre_process(self, inputs: dict[str, Any]) -> Query:
        count = topn_of(inputs, self.cfg_topn)
        table, word = self.tables.find(word_of(inputs), language_of(inputs), self.preferred)
        return table, word, count

    def _predict(self, prep_inputs: Query) -> list[tuple[str, float]]:
        return self._predict_batch([prep_inputs])[0]

    def _predict_batch(self, batch: list[Query]) -> list[list[tuple[str, float]]]:
        found: list[list[tuple[str, float]]] = [[] for _ in batch]
        for table in (self.tables.english, self.tables.romanian):
            places = [place for place, query in enumerate(batch) if query[0] is table]
            if places:
                answers = table.nearest_many([batch[place][1:] for place in places])
                for place, answer in zip(places, answers, strict=True):
                    found[place] = answer
        return found

    def _post_process(self, pred: list[tuple[str, float]]) -> list[dict[str, Any]]:
        return [{"word": word, "score": round(score, 4)} for word, score in pred]
