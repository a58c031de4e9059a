"""Keywords of an English or Romanian text.

English phrases are ranked by how close their meaning is to the text's (WordLlama's vectors),
Romanian ones by how central their words are among their neighbours in the text (TextRank), because
the vectors know no Romanian. In both, phrases that say the same as a better one are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._centrality import centrality
from endpoints._keyword_candidates import Candidate, candidates_of, runs_of
from endpoints._natural_text import Language, Languages, Word, normalised
from endpoints._text_embedding import TextEmbedder, needed_packages
from endpoints._text_inputs import LANGUAGE_RULE, LANGUAGES, count_of, language_of, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGE": "ro",
    "TOPN": 10,
    "MAX_WORDS": 3,
    "DIVERSITY": 0.4,
    "MAX_CHARS": 100_000,
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "TOPN": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100},
        "MAX_WORDS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 5},
        "DIVERSITY": {"TYPE": "number", "MIN_VAL": 0, "MAX_VAL": 1},
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
    },
}

__WORKER_VER__ = "1.0.0"

MAX_TOPN = 100
NEIGHBOURS = 3  # words this far apart are connected, as in TextRank


class Prepared(NamedTuple):
    """A checked request."""

    text: str
    language: Language
    wanted: int


class Keywords(NamedTuple):
    """The phrases that were found, best first, with scores and counts."""

    language: str
    phrases: list[tuple[str, float, int]]


def pick(
    relevance: NDArray[np.float32], similarity: NDArray[np.float32], count: int, diversity: float
) -> list[int]:
    """Return `count` items, relevant and unlike each other (maximal marginal relevance)."""
    import numpy as np

    chosen: list[int] = []
    likeness: Any = None  # of each item to the chosen one that is most alike
    value: Any = relevance
    for _ in range(min(count, len(relevance))):
        best = int(value.argmax())
        likeness = np.maximum(likeness, similarity[:, best]) if chosen else similarity[:, best]
        chosen.append(best)
        value = (1 - diversity) * relevance - diversity * likeness.clip(0)
        value[chosen] = -float("inf")
    return chosen


def shared_words(candidates: list[Candidate]) -> NDArray[np.float32]:
    """Return for each pair the share of words that the shorter phrase has in the longer one."""
    import numpy as np

    sets = [frozenset(candidate.stems) for candidate in candidates]
    shares: NDArray[np.float32] = np.array(
        [[len(one & other) / min(len(one), len(other)) for other in sets] for one in sets],
        dtype=np.float32,
    )
    return shares


def word_centrality(runs: list[list[Word]], language: Language) -> dict[str, float]:
    """Return how central each stem is in the graph of words that stand near each other."""
    import numpy as np

    stems = [language.stem(word.text) for run in runs for word in run]
    number = {stem: n for n, stem in enumerate(dict.fromkeys(stems))}
    if len(number) > 3000:  # of a very long text the first 3,000 different words
        number = {stem: n for stem, n in number.items() if n < 3000}
    weights = np.zeros((len(number), len(number)), dtype=np.float32)
    for place, stem in enumerate(stems):
        for neighbour in stems[place + 1 : place + 1 + NEIGHBOURS]:
            if stem != neighbour and stem in number and neighbour in number:
                weights[number[stem], number[neighbour]] += 1
                weights[number[neighbour], number[stem]] += 1
    return dict(zip(number, centrality(weights).tolist(), strict=True))


class KeywordsWorker(FlaskWorker):
    """Answers the `TOPN` keywords of `TEXT`, best first."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[KEYW]", **kwargs)

    def _load_model(self) -> None:
        with needed_packages("keywords"):
            self.embedder = TextEmbedder()
            self.languages = Languages(LANGUAGES, default=self.cfg_language)

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        text = normalised(text_of(inputs, self.cfg_max_chars))
        language = self.languages.choose(language_of(inputs), text)
        return Prepared(text, language, count_of(inputs, "TOPN", self.cfg_topn, MAX_TOPN))

    def _predict(self, prep_inputs: Prepared) -> Keywords:
        text, language, count = prep_inputs
        runs = runs_of(text, language)
        candidates = candidates_of(runs, language, self.cfg_max_words)
        if not candidates:
            return Keywords(language.code, [])
        if language.code == "en":
            relevance, similarity = self._by_meaning(runs, candidates)
        else:
            relevance, similarity = self._by_neighbours(runs, candidates, language)
        relevance /= max(float(relevance.max()), 1e-9)
        chosen = pick(relevance, similarity, count, self.cfg_diversity)
        language.forget_stems()
        return Keywords(
            language.code,
            [(candidates[n].shown, float(relevance[n]), candidates[n].count) for n in chosen],
        )

    def _by_meaning(self, runs: list[list[Word]], candidates: list[Candidate]) -> tuple[Any, Any]:
        import numpy as np

        content = " ".join(word.text for run in runs for word in run)
        vectors = self.embedder.embed([content, *(c.shown for c in candidates)])
        closeness = (vectors[1:] @ vectors[0]).clip(0, 1)
        counts = np.array([c.own_count for c in candidates], dtype=np.float32)
        similarity = vectors[1:] @ vectors[1:].T
        return closeness * counts**0.25, np.maximum(similarity, shared_words(candidates))

    def _by_neighbours(
        self, runs: list[list[Word]], candidates: list[Candidate], language: Language
    ) -> tuple[Any, Any]:
        import numpy as np

        central = word_centrality(runs, language)
        # Between sum and mean: a longer phrase has to earn its words.
        sums = [
            sum(central.get(s, 0.0) for s in c.stems) * (c.own_count / len(c.stems)) ** 0.5
            for c in candidates
        ]
        return np.array(sums, dtype=np.float32), shared_words(candidates)

    def _post_process(self, pred: Keywords) -> dict[str, Any]:
        return {
            "language": pred.language,
            "keywords": [
                {"keyword": phrase, "score": round(score, 4), "count": count}
                for phrase, score, count in pred.phrases
            ],
        }
