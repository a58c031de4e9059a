"""Chooses the answer whose words are closest to a question's, with probabilities.

The numpy counterpart of basic_quiz_model.onnx over all words of the table: a text is the sum of its
words' vectors, a score is a cosine, and probabilities are the softmax of `SHARPNESS` times it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endpoints._bilingual import Meaning, Vocabulary
from endpoints._romanian import read_lexicon
from endpoints._word_inputs import language_of, required, text_of, texts_of
from endpoints._word_vectors import read_npz

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARPNESS = 10.0
MAX_CHOICES = 64
SMALLEST_LENGTH = 1e-9  # a text without known words has the score 0, not NaN


@dataclass(frozen=True)
class Question:
    """A question and its choices, with the words that the model knows of them."""

    text: str
    choices: list[str]
    language: str
    meaning: Meaning
    choice_meanings: list[Meaning]


@dataclass(frozen=True)
class Choice:
    """One choice with its cosine and its probability."""

    index: int
    text: str
    score: float
    prob: float
    known: bool


def read_question(
    inputs: dict[str, Any], vocabulary: Vocabulary, preferred: str, max_chars: int
) -> Question:
    """Return the request's `QUESTION` with its `CHOICES`.

    Raises:
        TypeError: one of them is not a text.
        ValueError: something is absent, over a limit, or has no word that the model knows.
    """
    text = text_of(required(inputs, "QUESTION"), "QUESTION", max_chars)
    given = required(inputs, "CHOICES")
    choices = texts_of(given, "CHOICES", least=2, most=MAX_CHOICES, max_chars=max_chars)
    language = language_of(inputs)
    return understood(text, choices, vocabulary, language, preferred)


def understood(
    text: str, choices: list[str], vocabulary: Vocabulary, language: str | None, preferred: str
) -> Question:
    """Return a question with the meaning of its words and of its choices' words.

    Raises:
        ValueError: the model knows no word of the question, or none of any choice.
    """
    choice_language = language
    if language is None:
        # The choices may be in another language than the question.
        language = vocabulary.language_of([text], vocabulary.language_of(choices, preferred))
        choice_language = vocabulary.language_of(choices, language)
    meaning = vocabulary.meaning(text, language)
    choice_meanings = [
        vocabulary.meaning(choice, choice_language or language) for choice in choices
    ]
    if not meaning.rows:
        raise ValueError(f"the model knows no word of the question {text!r:.80}")
    if not any(choice.rows for choice in choice_meanings):
        raise ValueError(f"the model knows no word of the choices of {text!r:.80}")
    return Question(text, choices, language, meaning, choice_meanings)


class Chooser:
    """Scores choices with the vectors of a table."""

    def __init__(self, words: list[str], rows: NDArray[np.float32]) -> None:
        self.row_of = {word: row for row, word in enumerate(words)}
        self._rows = rows

    def choose(self, question: Question) -> list[Choice]:
        """Return the choices, best first; of equal ones the first given."""
        import numpy as np

        choice_vectors = np.array([self._vector(of_one) for of_one in question.choice_meanings])
        scores = choice_vectors @ self._vector(question.meaning)
        weights = np.exp(SHARPNESS * (scores - scores.max()))
        probs = weights / weights.sum()
        choices = [
            Choice(index, text, float(scores[index]), float(probs[index]), bool(meaning.rows))
            for index, (text, meaning) in enumerate(
                zip(question.choices, question.choice_meanings, strict=True)
            )
        ]
        return sorted(choices, key=lambda choice: (-choice.score, choice.index))

    def _vector(self, meaning: Meaning) -> NDArray[np.float64]:
        import numpy as np

        weights = np.array(meaning.weights, dtype="f8")
        total: NDArray[np.float64] = weights @ self._rows[meaning.rows].astype("f8")
        unit: NDArray[np.float64] = total / (np.linalg.norm(total) + SMALLEST_LENGTH)
        return unit


def read_chooser(vectors: Path, lexicon: Path) -> tuple[Chooser, Vocabulary]:
    """Return a chooser over our own `.npz`, and the vocabulary for its questions."""
    chooser = Chooser(*read_npz(vectors))
    return chooser, Vocabulary(chooser.row_of, read_lexicon(lexicon))
