"""How far an answer of get_qa can be trusted: probability, lead, and what was understood."""

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
    "MIN_CONFIDENCE": 0.5,
    "MIN_MARGIN": 0.2,
    "MIN_KNOWN_SHARE": 0.7,
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 10_000},
        "MIN_CONFIDENCE": {"TYPE": "number", "MIN_VAL": 0, "MAX_VAL": 1},
        "MIN_MARGIN": {"TYPE": "number", "MIN_VAL": 0, "MAX_VAL": 1},
        "MIN_KNOWN_SHARE": {"TYPE": "number", "MIN_VAL": 0, "MAX_VAL": 1},
    },
}

__WORKER_VER__ = "1.0.0"


def known_share(question: Question) -> float:
    """Return the share of words with a vector, averaged over the question and its choices."""
    shares = [meaning.known_share for meaning in (question.meaning, *question.choice_meanings)]
    return sum(shares) / len(shares)


def unknown_words(question: Question) -> list[str]:
    """Return the words without a vector, each once, in the order of the request."""
    meanings = (question.meaning, *question.choice_meanings)
    return list(dict.fromkeys(word for meaning in meanings for word in meaning.unknown))


def asked_choice(inputs: dict[str, Any], choices: list[str]) -> int | None:
    """Return the place of `ANSWER` among the choices, if the request has one.

    Raises:
        ValueError: it is none of the choices.
    """
    answer = inputs.get("ANSWER")
    if answer is None:
        return None
    text = answer.strip() if isinstance(answer, str) else None
    if text not in choices:
        raise ValueError(f"ANSWER should be one of CHOICES, not {answer!r:.80}")
    return choices.index(text)


class GetConfWorker(FlaskWorker):
    """Answers the confidence in `ANSWER`, or in the best of `CHOICES`, for `QUESTION`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[CONF]", **kwargs)

    def _load_model(self) -> None:
        self.preferred = checked_language(self.cfg_language)
        self.chooser, self.vocabulary = read_chooser(
            DATA_FOLDER / SHIPPED_VECTORS, DATA_FOLDER / SHIPPED_LEXICON
        )

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[Question, int | None]:
        question = read_question(inputs, self.vocabulary, self.preferred, self.cfg_max_chars)
        return question, asked_choice(inputs, question.choices)

    def _predict(
        self, prep_inputs: tuple[Question, int | None]
    ) -> tuple[Question, Choice, list[Choice]]:
        question, asked = prep_inputs
        ranking = self.chooser.choose(question)
        chosen = next((of_one for of_one in ranking if of_one.index == asked), ranking[0])
        return question, chosen, [choice for choice in ranking if choice is not chosen]

    def _post_process(self, pred: tuple[Question, Choice, list[Choice]]) -> dict[str, Any]:
        question, chosen, others = pred
        margin = chosen.prob - others[0].prob
        share = known_share(question)
        return {
            "answer": chosen.text,
            "confidence": round(chosen.prob, 4),
            "margin": round(margin, 4),
            "known_share": round(share, 4),
            "unknown_words": unknown_words(question),
            "is_confident": chosen.known
            and chosen.prob >= self.cfg_min_confidence
            and margin >= self.cfg_min_margin
            and share >= self.cfg_min_known_share,
            "language": question.language,
        }
