"""A multiple-choice quiz in Romanian or English: word vectors, as an ONNX model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from basic_inference_server import FlaskWorker
from endpoints._bilingual import Meaning, Vocabulary
from endpoints._choosing import MAX_CHOICES, Question, read_question, understood
from endpoints._onnx_session import open_session
from endpoints._romanian import SHIPPED_LEXICON, read_lexicon
from endpoints._word_inputs import (
    LANGUAGE_RULE,
    ROMANIAN,
    checked_language,
    language_of,
    required,
    texts_of,
)
from endpoints._word_vectors import DATA_FOLDER, SHIPPED_VECTORS, read_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "LANGUAGE": ROMANIAN,
    "MAX_CHARS": 1_000,
    "MAX_QUESTIONS": 100,
    "MAX_TOTAL_CHARS": 200_000,
    "VALIDATION_RULES": {
        "LANGUAGE": LANGUAGE_RULE,
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 10_000},
        "MAX_QUESTIONS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000},
        "MAX_TOTAL_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
    },
}

__WORKER_VER__ = "1.0.0"

# The model makes 50 floats of each word, padding included: 20 MB at once, not gigabytes.
MAX_WORDS_AT_ONCE = 100_000

Quiz = tuple[list[Question], bool]
Probs = list[float]


def padded(meanings: list[Meaning]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of many texts as one table, and how much each counts: 0 for padding."""
    import numpy as np

    longest = max(1, *(len(meaning.rows) for meaning in meanings))
    ids = np.zeros((len(meanings), longest), dtype="i8")
    mask = np.zeros((len(meanings), longest), dtype="f4")
    for number, meaning in enumerate(meanings):
        ids[number, : len(meaning.rows)] = meaning.rows
        mask[number, : len(meaning.rows)] = meaning.weights
    return ids, mask


def groups(questions: list[Question]) -> Iterator[list[int]]:
    """Yield the places of questions with equally many choices, as many as memory allows at once."""
    for size in sorted({len(question.choices) for question in questions}):
        group: list[int] = []
        longest = 1
        for place, question in enumerate(questions):
            if len(question.choices) != size:
                continue
            longest_here = max(len(meaning.rows) for meaning in question.choice_meanings)
            longest = max(longest, longest_here)
            if group and (len(group) + 1) * size * longest > MAX_WORDS_AT_ONCE:
                yield group
                group, longest = [], max(1, longest_here)
            group.append(place)
        yield group


class BasicQuizModelWorker(FlaskWorker):
    """Answers which of `CHOICES` fits `QUESTION`, or a list of these for `QUESTIONS`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[QUIZ]", **kwargs)

    def _load_model(self) -> None:
        self.preferred = checked_language(self.cfg_language)
        self.session = open_session(DATA_FOLDER / "basic_quiz_model.onnx", "basic_quiz_model")
        # The model has the vectors; their words are the first ones of the larger table.
        word_count = int(self.session.get_modelmeta().custom_metadata_map["words"])
        words = read_words(DATA_FOLDER / SHIPPED_VECTORS)[:word_count]
        lexicon = read_lexicon(DATA_FOLDER / SHIPPED_LEXICON)
        self.vocabulary = Vocabulary({word: row for row, word in enumerate(words)}, lexicon)

    def _pre_process(self, inputs: dict[str, Any]) -> Quiz:
        if ("QUESTION" in inputs) == ("QUESTIONS" in inputs):
            raise ValueError(
                "give either QUESTION with CHOICES, or QUESTIONS with lists of CHOICES"
            )
        if "QUESTION" in inputs:
            chars = self.cfg_max_chars
            return [read_question(inputs, self.vocabulary, self.preferred, chars)], True
        return self._questions_of(inputs), False

    def _questions_of(self, inputs: dict[str, Any]) -> list[Question]:
        chars, most = self.cfg_max_chars, self.cfg_max_questions
        texts = texts_of(inputs["QUESTIONS"], "QUESTIONS", least=0, most=most, max_chars=chars)
        lists = required(inputs, "CHOICES")
        if not isinstance(lists, list) or len(lists) != len(texts):
            raise ValueError(f"CHOICES should hold {len(texts)} lists, one for each question")
        choices = [
            texts_of(given, f"CHOICES[{number}]", least=2, most=MAX_CHOICES, max_chars=chars)
            for number, given in enumerate(lists)
        ]
        total = sum(map(len, texts)) + sum(len(choice) for of_one in choices for choice in of_one)
        if total > self.cfg_max_total_chars:
            raise ValueError(
                f"QUESTIONS and CHOICES have {total} characters altogether; "
                f"at most {self.cfg_max_total_chars} are taken"
            )
        language = language_of(inputs)
        return [
            understood(text, of_one, self.vocabulary, language, self.preferred)
            for text, of_one in zip(texts, choices, strict=True)
        ]

    def _predict(self, prep_inputs: Quiz) -> tuple[Quiz, list[Probs]]:
        return self._predict_batch([prep_inputs])[0]

    def _predict_batch(self, batch: list[Quiz]) -> list[tuple[Quiz, list[Probs]]]:
        probs = iter(self._probs([question for questions, _ in batch for question in questions]))
        return [(quiz, [next(probs) for _ in quiz[0]]) for quiz in batch]

    def _probs(self, questions: list[Question]) -> list[Probs]:
        """Return each question's probabilities.

        The model takes questions with equally many choices together: a choice that is only padding
        would get a probability as well.
        """
        probs: list[Probs] = [[] for _ in questions]
        for places in groups(questions):
            of_group = self._run([questions[place] for place in places])
            for place, of_one in zip(places, of_group, strict=True):
                probs[place] = of_one
        return probs

    def _run(self, questions: list[Question]) -> list[Probs]:
        q_ids, q_mask = padded([question.meaning for question in questions])
        a_ids, a_mask = padded([of for question in questions for of in question.choice_meanings])
        shape = (len(questions), len(questions[0].choices), -1)
        tensors = {
            "q_ids": q_ids,
            "q_mask": q_mask,
            "a_ids": a_ids.reshape(shape),
            "a_mask": a_mask.reshape(shape),
        }
        of_all: list[Probs] = self.session.run(["prob"], tensors)[0].tolist()
        return of_all

    def _post_process(
        self, pred: tuple[Quiz, list[Probs]]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        (questions, is_single), probs = pred
        answers = [
            self._answer(question, of_one)
            for question, of_one in zip(questions, probs, strict=True)
        ]
        return answers[0] if is_single else answers

    @staticmethod
    def _answer(question: Question, probs: Probs) -> dict[str, Any]:
        best = probs.index(max(probs))
        return {
            "answer": question.choices[best],
            "index": best,
            "prob": round(probs[best], 4),
            "probs": [round(prob, 4) for prob in probs],
            "language": question.language,
        }
