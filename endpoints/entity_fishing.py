"""Entities of a text with their Wikidata identifiers.

Names come from a gazetteer of countries, organisations and a few people, cities and rivers. Where
a name stands for several, the one whose description is closest to the words around it is taken
(WordLlama's vectors), and of equals the one that is better known. The score says how likely the
name is one: "Next" at the start of a sentence needs words around it that speak of a retailer.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._gazetteer import Entity, Gazetteer, Mention
from endpoints._natural_text import Language, Languages, words_of
from endpoints._text_embedding import TextEmbedder, needed_packages
from endpoints._text_inputs import LANGUAGE_RULE, LANGUAGES, language_of, share_of, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGE": "ro",
    "MIN_SCORE": 0.35,
    "GAZETTEER": "gazetteer.tsv.gz",
    "MAX_CHARS": 100_000,
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "MIN_SCORE": {"TYPE": "number", "MIN_VAL": 0, "MAX_VAL": 1},
        "GAZETTEER": {"TYPE": "str", "MIN_LEN": 1},
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
    },
}

__WORKER_VER__ = "1.0.0"

DATA_FOLDER = Path(__file__).parent / "data"
AROUND = 200  # characters before and after a name that may say what it means
SENTENCE_BREAK = re.compile(r"[.!?\u2026]\s|\n")
ENOUGH_WORDS = 2  # in the name's own sentence; with fewer the neighbouring ones count too
# How well known an entity is decides between equals; it does not outweigh the context.
FAME = 0.05
FAMOUS = 500
# "Vodafone" is rather the one with that label than a branch that goes by that name too.
OWN_LABEL = 0.03
# How likely a name is one, before the words around it are read.
LONG_NAME = 0.9  # of several words, or of a country
INSIDE_SENTENCE = 0.7  # a capital where none would be otherwise
FAMOUS_AT_START = 0.6
AT_START = 0.3  # any word has a capital there
SMALL_LETTERS = 0.2  # "apple"
WELL_KNOWN_WEIGHT = 50
COUNTRY_WEIGHT = 200
KEPT_VECTORS = 4096


class Prepared(NamedTuple):
    """A checked request."""

    text: str
    language: Language
    min_score: float


class Found(NamedTuple):
    """An entity, where the text has it, and how sure that is."""

    mention: Mention
    entity: Entity
    score: float


class EntityFishingWorker(FlaskWorker):
    """Answers the entities of `TEXT` with place, Wikidata identifier and score."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[FISH]", **kwargs)

    def _load_model(self) -> None:
        with needed_packages("entity_fishing"):
            self.embedder = TextEmbedder()
            self.languages = Languages(LANGUAGES, default=self.cfg_language)
        path = DATA_FOLDER / self.cfg_gazetteer  # an absolute GAZETTEER stands for itself
        self.gazetteer = Gazetteer(path)
        self._vectors: OrderedDict[str, Any] = OrderedDict()
        self.P(f"{self.gazetteer.entity_count} entities from {path.name}")

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        text = text_of(inputs, self.cfg_max_chars)
        language = self.languages.choose(language_of(inputs), text)
        return Prepared(text, language, share_of(inputs, "MIN_SCORE", self.cfg_min_score))

    def _predict(self, prep_inputs: Prepared) -> tuple[str, list[tuple[str, Found]]]:
        text, language, min_score = prep_inputs
        found = []
        for mention in self.gazetteer.mentions_in(text):
            name = text[mention.start : mention.end]
            if language.is_stop_word(name):
                continue  # "Unde ești": a capital at the start makes no name
            best = self._choose(text, mention, language)
            if best.score >= min_score:
                found.append((name, best))
        return language.code, found

    def _choose(self, text: str, mention: Mention, language: Language) -> Found:
        if language.code == "en":
            around = self._context(text, mention, language)
            closeness = [self._closeness(around, entity) for entity in mention.candidates]
        else:  # the vectors know no Romanian: the better known one
            closeness = [0.0] * len(mention.candidates)
        name = text[mention.start : mention.end]
        close, entity = max(
            zip(closeness, mention.candidates, strict=True),
            key=lambda item: item[0] + fame(item[1]) + OWN_LABEL * (item[1].label == name),
        )
        doubt = 1 - likely_name(text, mention, entity)
        return Found(mention, entity, 1 - doubt * (1 - min(1.0, max(0.0, close))))

    def _context(self, text: str, mention: Mention, language: Language) -> NDArray[np.float32]:
        before = text[max(0, mention.start - AROUND) : mention.start]
        after = text[mention.end : mention.end + AROUND]
        *_, own_before = SENTENCE_BREAK.split(before)
        own_after, *_ = SENTENCE_BREAK.split(after)
        words = content_words(f"{own_before} {own_after}", language)
        if len(words) < ENOUGH_WORDS:
            words = content_words(f"{before} {after}", language)
        vector: NDArray[np.float32] = self.embedder.embed([" ".join(words)])[0]
        return vector

    def _closeness(self, around: NDArray[np.float32], entity: Entity) -> float:
        """Return the cosine of context and description; vectors of descriptions are kept."""
        vector = self._vectors.get(entity.identifier)
        if vector is None:
            vector = self.embedder.embed([entity.description])[0]
            self._vectors[entity.identifier] = vector
            if len(self._vectors) > KEPT_VECTORS:
                self._vectors.popitem(last=False)
        return float(around @ vector)

    def _post_process(self, pred: tuple[str, list[tuple[str, Found]]]) -> dict[str, Any]:
        language, found = pred
        return {
            "language": language,
            "entities": [
                {
                    "mention": name,
                    "start": hit.mention.start,
                    "end": hit.mention.end,
                    "wikidata": hit.entity.identifier,
                    "label": hit.entity.label,
                    "type": hit.entity.kind,
                    "description": hit.entity.description,
                    "score": round(hit.score, 4),
                }
                for name, hit in found
            ],
        }


def fame(entity: Entity) -> float:
    """Return what being known adds to a score."""
    return FAME * min(1.0, math.log1p(entity.weight) / math.log1p(FAMOUS))


def content_words(text: str, language: Language) -> list[str]:
    """Return the words that carry meaning."""
    return [word.text for word in words_of(text) if not language.is_stop_word(word.text)]


def likely_name(text: str, mention: Mention, entity: Entity) -> float:
    """Return how likely a mention is a name, by how and where it is written."""
    name = text[mention.start : mention.end]
    if name.islower():
        return SMALL_LETTERS
    if " " in name or entity.weight >= COUNTRY_WEIGHT:
        return LONG_NAME
    before = text[max(0, mention.start - 3) : mention.start]
    is_start = not before.strip(" \"'(\u201e\u201c") or SENTENCE_BREAK.search(before) is not None
    if not is_start:
        return INSIDE_SENTENCE
    return FAMOUS_AT_START if entity.weight >= WELL_KNOWN_WEIGHT else AT_START
