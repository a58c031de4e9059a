"""The best of several answers to a question, in Romanian or English, by word vectors."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker
from endpoints._choosing import Choice, Question, read_chooser, read_question
from endpoints._romanian import SHIPPED_LEXICON
from endpoints._word_inputs import LANGUAGE_RULE, ROMANIAN, checked_language
from endpoints._word_vectors import DATA_FOLDER, SHIPPED_VECTORS

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGE": ROMANIAN,
    "MAX_CHARS": 1_000,
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 10_000},
    },
}

__WORKER_VER__ = "1.0.0"


class GetQaWorker(FlaskWorker):
    """Answers which of `CHOICES` fits `QUESTION` best, and how the others rank."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[GTQA]", **kwargs)

    def _load_model(self) -> None:
        self.preferred = checked_language(self.cfg_language)
        self.chooser, self.vocabulary = read_chooser(
            DATA_FOLDER / SHIPPED_VECTORS, DATA_FOLDER / SHIPPED_LEXICON
        )

    def _pre_process(self, inputs: dict[str, Any]) -> Question:
        return read_question(inputs, self.vocabulary, self.preferred, self.cfg_max_chars)

    def _predict(self, prep_inputs: Question) -> tuple[list[Choice], str]:
        return self.chooser.choose(prep_inputs), prep_inputs.language

    def _post_process(self, pred: tuple[list[Choice], str]) -> dict[str, Any]:
        ranking, language = pred
        return {
            "answer": ranking[0].text,
            "index": ranking[0].index,
            "prob": round(ranking[0].prob, 4),
            "language": language,
            "ranking": [
                {
                    "answer": choice.text,
                    "score": round(choice.score, 4),
                    "prob": round(choice.prob, 4),
                    "known": choice.known,
                }
                for choice in ranking
            ],
        }
