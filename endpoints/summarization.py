"""Summary of an English or Romanian text: its most central sentences, in their order.

Sentences that many others resemble are central (TextRank). English ones resemble each other by
their meaning (WordLlama's vectors), Romanian ones by the stems of rare words that they share,
because the vectors know no Romanian. Nothing is rephrased.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._centrality import centrality
from endpoints._natural_text import Language, Languages, normalised, split_sentences
from endpoints._text_embedding import TextEmbedder, needed_packages
from endpoints._text_inputs import LANGUAGE_RULE, LANGUAGES, count_of, language_of, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGE": "ro",
    "SENTENCES": 3,
    "MAX_CHARS": 100_000,
    "MAX_SENTENCES": 2_000,
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "SENTENCES": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100},
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
        # Time and memory grow with its square: 2,000 sentences take 0.3 s.
        "MAX_SENTENCES": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 5_000},
    },
}

__WORKER_VER__ = "1.0.0"

LARGEST_SUMMARY = 100


class Prepared(NamedTuple):
    """A checked request."""

    sentences: list[str]
    language: Language
    wanted: int


class Summary(NamedTuple):
    """The chosen sentences with their positions and scores, in the order of the text."""

    language: str
    of: int
    chosen: list[tuple[int, str, float]]


def shared_stems(stems: list[list[str]]) -> NDArray[np.float32]:
    """Return the cosine of each pair of sentences, whose stems count more the rarer they are."""
    import numpy as np

    spread = Counter(stem for sentence in stems for stem in set(sentence))
    number = {stem: n for n, stem in enumerate(stem for stem, c in spread.items() if c > 1)}
    rows = np.zeros((len(stems), len(number) + 1), dtype=np.float32)
    for row, sentence in enumerate(stems):
        for stem in sentence:
            if stem in number:
                rows[row, number[stem]] += np.log(1 + len(stems) / spread[stem])
            else:  # a stem that no other sentence has only makes this one longer
                rows[row, -1] += np.log(1 + len(stems)) ** 2
    rows[:, -1] **= 0.5
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    rows /= lengths
    cosines: NDArray[np.float32] = rows[:, :-1] @ rows[:, :-1].T
    return cosines


class SummarizationWorker(FlaskWorker):
    """Answers the `SENTENCES` most central sentences of `TEXT`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[SUMM]", **kwargs)

    def _load_model(self) -> None:
        with needed_packages("summarization"):
            self.embedder = TextEmbedder()
            self.languages = Languages(LANGUAGES, default=self.cfg_language)

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        text = normalised(text_of(inputs, self.cfg_max_chars))
        count = count_of(inputs, "SENTENCES", self.cfg_sentences, LARGEST_SUMMARY)
        language = self.languages.choose(language_of(inputs), text)
        sentences = split_sentences(text)
        if not sentences:
            raise ValueError("TEXT has no words; give it a text with sentences")
        if len(sentences) > self.cfg_max_sentences:
            raise ValueError(
                f"TEXT has {len(sentences)} sentences; at most {self.cfg_max_sentences} are taken"
            )
        return Prepared(sentences, language, count)

    def _predict(self, prep_inputs: Prepared) -> Summary:
        import numpy as np

        sentences, language, count = prep_inputs
        # Said twice is not said better: a sentence counts where it stands first.
        first_positions: dict[str, int] = {}
        for position, sentence in enumerate(sentences):
            first_positions.setdefault(sentence, position)
        different, positions = list(first_positions), list(first_positions.values())
        scores = centrality(self._likeness(different, language))
        chosen = sorted(np.argsort(-scores, kind="stable")[:count].tolist())
        # 1 is the score of the average sentence, however many there are.
        return Summary(
            language.code,
            len(sentences),
            [(positions[n], different[n], float(scores[n]) * len(different)) for n in chosen],
        )

    def _likeness(self, sentences: list[str], language: Language) -> NDArray[np.float32]:
        import numpy as np

        if language.code == "en":
            vectors = self.embedder.embed(sentences)
            likeness = (vectors @ vectors.T).clip(min=0)
        else:
            likeness = shared_stems([language.content_stems(sentence) for sentence in sentences])
            language.forget_stems()
        np.fill_diagonal(likeness, 0)
        return likeness

    def _post_process(self, pred: Summary) -> dict[str, Any]:
        return {
            "language": pred.language,
            "summary": " ".join(sentence for _, sentence, _ in pred.chosen),
            "sentences": [
                {"sentence": sentence, "position": position, "score": round(score, 4)}
                for position, sentence, score in pred.chosen
            ],
            "sentence_count": pred.of,
        }
