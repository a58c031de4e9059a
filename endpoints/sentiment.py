"""Sentiment of English text: VADER's lexicon and rules, one text or many per request."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker

# VADER's time grows with the square of a text's length where "but" meets many opinion words
# (0.2 s for 10,000 characters, 34 s for 100,000): without a limit one request is an outage.
_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "MAX_CHARS": 10_000,
    "MAX_TEXTS": 64,
    "VALIDATION_RULES": {
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 50_000},
        "MAX_TEXTS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000},
    },
}

__WORKER_VER__ = "1.0.0"

# The thresholds that VADER's authors recommend for `compound`.
POSITIVE_FROM = 0.05
NEGATIVE_UP_TO = -0.05


def label_of(compound: float) -> str:
    """Return `positive`, `negative` or `neutral`."""
    if compound >= POSITIVE_FROM:
        return "positive"
    return "negative" if compound <= NEGATIVE_UP_TO else "neutral"


def texts_of(inputs: dict[str, Any], max_texts: int, max_chars: int) -> list[str]:
    """Return the texts of a request: its one `TEXT`, or all of its `TEXTS`.

    Raises:
        TypeError: one of them is not a text.
        ValueError: neither or both are given, or one is over a limit.
    """
    if ("TEXT" in inputs) == ("TEXTS" in inputs):
        raise ValueError("give either TEXT, a text, or TEXTS, a list of texts")
    if "TEXT" in inputs:
        _check_text("TEXT", inputs["TEXT"], max_chars)
        return [inputs["TEXT"]]
    texts = inputs["TEXTS"]
    if not isinstance(texts, list):
        raise TypeError(f"TEXTS should be a list of texts, not {type(texts).__name__}")
    if len(texts) > max_texts:
        raise ValueError(f"TEXTS holds {len(texts)} texts; at most {max_texts} are taken")
    for number, text in enumerate(texts):
        _check_text(f"TEXTS[{number}]", text, max_chars)
    return texts


def _check_text(name: str, text: Any, max_chars: int) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} should be a text, not {type(text).__name__}")
    if len(text) > max_chars:
        raise ValueError(f"{name} has {len(text)} characters; at most {max_chars} are taken")


class SentimentWorker(FlaskWorker):
    """Answers `neg`, `neu`, `pos`, `compound` and `label` for `TEXT`, or a list for `TEXTS`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[SENT]", **kwargs)

    def _load_model(self) -> None:
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ModuleNotFoundError as error:
            raise ImportError(
                'sentiment needs vaderSentiment: pip install "basic_inference_server[models]"'
            ) from error
        self.analyzer = SentimentIntensityAnalyzer()

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[list[str], bool]:
        texts = texts_of(inputs, max_texts=self.cfg_max_texts, max_chars=self.cfg_max_chars)
        return texts, "TEXT" in inputs

    def _predict(self, prep_inputs: tuple[list[str], bool]) -> tuple[list[dict[str, float]], bool]:
        texts, is_single = prep_inputs
        return [self.analyzer.polarity_scores(text) for text in texts], is_single

    def _post_process(
        self, pred: tuple[list[dict[str, float]], bool]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        scores, is_single = pred
        answers = [{**score, "label": label_of(score["compound"])} for score in scores]
        return answers[0] if is_single else answers
