"""All about a text in one request: language, keywords, entities, sentiment and summary.

It has no model of its own: it asks langid first, then the other endpoints at the same time. A part
that does not come is told beside those that do, and does not take them along.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from basic_inference_server import CallError, FlaskWorker
from endpoints._text_inputs import LANGUAGES, language_of, text_of

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "MAX_CHARS": 100_000,
    "VALIDATION_RULES": {"MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000}},
}

__WORKER_VER__ = "1.0.0"

UNDETERMINED = "und"  # what langid says of a text without letters


class Part(NamedTuple):
    """One part of the answer: who is asked, what it can read, and what is taken of its answer.

    `fields` of one name take that field's value, several make an object of them.
    """

    signature: str
    languages: tuple[str, ...]
    fields: tuple[str, ...]
    takes_language: bool = True


PARTS = {
    "keywords": Part("keywords", LANGUAGES, ("keywords",)),
    "entities": Part("entity_fishing", LANGUAGES, ("entities",)),
    "sentiment": Part(
        "sentiment", ("en",), ("label", "compound", "neg", "neu", "pos"), takes_language=False
    ),
    "summary": Part("summarization", LANGUAGES, ("summary",)),
}
LANGUAGE = Part("langid", (), ("language", "score"), takes_language=False)


class Prepared(NamedTuple):
    """A checked request."""

    text: str
    parts: tuple[str, ...]
    language: str | None  # the caller's word; langid is not asked then


class Analysis(NamedTuple):
    """What came, what did not come, and what was not asked for with a reason."""

    language: str | None
    score: float | None
    parts: dict[str, Any]
    errors: dict[str, CallError]
    left_out: dict[str, str]


def parts_of(inputs: dict[str, Any]) -> tuple[str, ...]:
    """Return the parts that the request wants, in the order of the answer; all without `PARTS`.

    Raises:
        TypeError: `PARTS` is no list.
        ValueError: it is empty, or names a part that there is not.
    """
    wanted = inputs.get("PARTS", list(PARTS))
    known = ", ".join(PARTS)
    if not isinstance(wanted, list):
        raise TypeError(f"PARTS should be a list of {known}, not {type(wanted).__name__}")
    if not wanted:
        raise ValueError(f"PARTS is empty; name some of {known}, or leave it out for all")
    for part in wanted:
        if not isinstance(part, str) or part not in PARTS:
            raise ValueError(f"PARTS should name some of {known}, not {part!r:.50}")
    return tuple(part for part in PARTS if part in wanted)


def why_left_out(part: Part, language: str | None) -> str:
    """Return why a part cannot read a text in that language; empty when it can.

    What reads only one language is not asked without knowing that it is this one; the others
    recognise theirs themselves then.
    """
    if language in part.languages or (language is None and len(part.languages) > 1):
        return ""
    reads = f"it reads {' and '.join(part.languages)} only"
    if language is None or language == UNDETERMINED:
        return f"{reads}; the language of the text is not known"
    return f"{reads}; the text is in {language}"


def taken(part: Part, outcome: dict[str, Any] | CallError) -> Any:
    """Return what the analysis takes of an endpoint's answer.

    Raises:
        CallError: it is one, or nothing to take is there: another model answers under that name.
    """
    if isinstance(outcome, CallError):
        raise outcome
    missing = [name for name in part.fields if name not in outcome]
    if missing:
        problem = f"its answer has no {' and no '.join(missing)}"
        raise CallError(part.signature, 500, "endpoint_error", problem)
    if len(part.fields) == 1:
        return outcome[part.fields[0]]
    return {name: outcome[name] for name in part.fields}


def question(part: Part, text: str, language: str | None) -> tuple[str, dict[str, Any]]:
    """Return the call that asks for a part."""
    inputs = {"TEXT": text}
    if language is not None and part.takes_language:
        inputs["LANGUAGE"] = language
    return part.signature, inputs


class AnalyzeWorker(FlaskWorker):
    """Answers language, keywords, entities, sentiment and summary of `TEXT`, or some `PARTS`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[ANLZ]", **kwargs)

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        text = text_of(inputs, self.cfg_max_chars)
        return Prepared(text, parts_of(inputs), language_of(inputs))

    def _predict(self, prep_inputs: Prepared) -> Analysis:
        text, wanted, language = prep_inputs
        analysis = Analysis(language, None, {}, {}, {})
        if language is None:
            analysis = self._recognise(text)
        asked: list[str] = []
        for name in wanted:
            reason = why_left_out(PARTS[name], analysis.language)
            if reason:
                analysis.left_out[name] = reason
            else:
                asked.append(name)
        outcomes = self.call_many(
            [question(PARTS[name], text, analysis.language) for name in asked], return_errors=True
        )
        for name, outcome in zip(asked, outcomes, strict=True):
            try:
                analysis.parts[name] = taken(PARTS[name], outcome)
            except CallError as error:
                analysis.errors[name] = error
        return analysis

    def _recognise(self, text: str) -> Analysis:
        """Return an analysis that so far has the language, or why it has none."""
        (outcome,) = self.call_many([question(LANGUAGE, text, None)], return_errors=True)
        try:
            answer = taken(LANGUAGE, outcome)
        except CallError as error:
            return Analysis(None, None, {}, {"language": error}, {})
        return Analysis(answer["language"], answer["score"], {}, {}, {})

    def _post_process(self, pred: Analysis) -> dict[str, Any]:
        return {
            "language": pred.language,
            "language_score": pred.score,
            "parts": pred.parts,
            "errors": {
                part: {
                    "signature": error.signature,
                    "status": error.status,
                    "code": error.code,
                    "message": str(error),
                }
                for part, error in pred.errors.items()
            },
            "left_out": pred.left_out,
        }
