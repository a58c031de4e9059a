"""Which language a text is written in, by py3langid's naive Bayes model over byte n-grams."""

from __future__ import annotations

from typing import Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._text_inputs import count_of, one_or_many_texts_of

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGES": [],
    "TOPN": 1,
    "MAX_CHARS": 100_000,
    "MAX_TEXTS": 64,
    "VALIDATION_RULES": {
        "LANGUAGES": {"TYPE": "list"},
        "TOPN": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 200},
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
        "MAX_TEXTS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000},
    },
}

__WORKER_VER__ = "1.0.0"

MAX_TOPN = 200
MODEL_FILE = "data/model.npz.xz"  # inside the package
UNDETERMINED = "und"  # what ISO 639 calls it


class Prepared(NamedTuple):
    """A checked request."""

    texts: list[str]
    wanted: int
    is_single: bool


class Ranked(NamedTuple):
    """The likeliest languages of each text, with their probabilities."""

    rankings: list[list[tuple[str, float]]]
    is_single: bool


class LangidWorker(FlaskWorker):
    """Answers `language` and `score` for `TEXT`, or a list of them for `TEXTS`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[LANG]", **kwargs)

    def _load_model(self) -> None:
        try:
            from py3langid.langid import LanguageIdentifier
        except ModuleNotFoundError as error:
            raise ImportError(
                'langid needs py3langid: pip install "basic_inference_server[models]"'
            ) from error
        self.identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        if self.cfg_languages:
            self.identifier.set_languages(self.cfg_languages)
        self.P(f"{len(self.identifier.labels)} languages")

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        texts = one_or_many_texts_of(inputs, self.cfg_max_texts, self.cfg_max_chars)
        return Prepared(texts, count_of(inputs, "TOPN", self.cfg_topn, MAX_TOPN), "TEXT" in inputs)

    def _predict(self, prep_inputs: Prepared) -> Ranked:
        rankings = [self._rank(text)[: prep_inputs.wanted] for text in prep_inputs.texts]
        return Ranked(rankings, prep_inputs.is_single)

    def _rank(self, text: str) -> list[tuple[str, float]]:
        if not any(character.isalpha() for character in text):
            return [(UNDETERMINED, 0.0)]  # the model would guess from digits and blanks
        ranked: list[tuple[str, float]] = self.identifier.rank(text)
        return ranked

    def _post_process(self, pred: Ranked) -> dict[str, Any] | list[dict[str, Any]]:
        answers = [
            {
                "language": ranking[0][0],
                "score": round(ranking[0][1], 4),
                "ranking": [{"language": code, "score": round(p, 4)} for code, p in ranking],
            }
            for ranking in pred.rankings
        ]
        return answers[0] if pred.is_single else answers
