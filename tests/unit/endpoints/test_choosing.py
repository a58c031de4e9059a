"""Unit tests of endpoints/_choosing.py, and of get_conf and the quiz on top of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from endpoints._bilingual import Meaning, Vocabulary
from endpoints._choosing import MAX_CHOICES, Chooser, Question, read_question
from endpoints._romanian import Lexicon
from endpoints.basic_quiz_model import MAX_WORDS_AT_ONCE, groups, padded
from endpoints.get_conf import asked_choice, known_share, unknown_words

WORDS = ["east", "north", "west", "up"]
ROWS = np.array([[2, 0], [0, 3], [-1, 0], [1, 1]], dtype=np.float32)


@pytest.fixture
def chooser() -> Chooser:
    return Chooser(WORDS, ROWS)


@pytest.fixture
def vocabulary(chooser: Chooser) -> Vocabulary:
    return Vocabulary(chooser.row_of, Lexicon({"sus": ["up"], "est": ["east"]}))


def question_of(vocabulary: Vocabulary, text: str, *choices: str) -> Question:
    inputs = {"QUESTION": text, "CHOICES": list(choices), "LANGUAGE": "en"}
    return read_question(inputs, vocabulary, "ro", 100)


def test_choose_ranks_by_cosine(chooser: Chooser, vocabulary: Vocabulary) -> None:
    """The best comes first, whatever the length of its vector, and probabilities add up to 1."""
    ranking = chooser.choose(question_of(vocabulary, "east", "west", "north", "up", "east"))
    assert ["east", "up", "north", "west"] == [choice.text for choice in ranking]
    assert [3, 2, 1, 0] == [choice.index for choice in ranking]
    assert [1, 0.7071, 0, -1] == pytest.approx([c.score for c in ranking], abs=1e-4)
    assert 1 == pytest.approx(sum(choice.prob for choice in ranking))


def test_choose_gives_an_unknown_choice_the_score_0(
    chooser: Chooser, vocabulary: Vocabulary
) -> None:
    """A choice without known words is marked and gets no NaN."""
    unknown = chooser.choose(question_of(vocabulary, "east", "xyzzy", "east"))[1]
    assert ("xyzzy", 0.0, False) == (unknown.text, unknown.score, unknown.known)


def test_choose_takes_the_first_of_equals(chooser: Chooser, vocabulary: Vocabulary) -> None:
    """Of two choices with one score the one that was given first wins."""
    ranking = chooser.choose(question_of(vocabulary, "east", "north", "North!"))
    assert ["north", "North!"] == [choice.text for choice in ranking]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"QUESTION": None}, "QUESTION should be a text, not NoneType", id="null"),
        pytest.param({"QUESTION": " "}, "QUESTION is empty", id="blank"),
        pytest.param({"QUESTION": "e" * 101}, "101 characters; at most 100", id="long"),
        pytest.param({"QUESTION": "123 😀"}, "knows no word of the question", id="no words"),
        pytest.param({"CHOICES": "east"}, "CHOICES should be a list of texts", id="a text"),
        pytest.param({"CHOICES": ["east"]}, "2 to 64 texts, not 1", id="one"),
        pytest.param({"CHOICES": ["e"] * (MAX_CHOICES + 1)}, "2 to 64 texts, not 65", id="many"),
        pytest.param({"CHOICES": ["east", 5]}, r"CHOICES\[1\] should be a text", id="number"),
        pytest.param({"CHOICES": ["x", "y"]}, "knows no word of the choices", id="unknown"),
        pytest.param({"LANGUAGE": "fr"}, 'LANGUAGE should be "ro" or "en"', id="French"),
    ],
)
def test_read_question_refuses(
    vocabulary: Vocabulary, changes: dict[str, Any], complaint: str
) -> None:
    """What cannot be asked is refused with what is wrong."""
    inputs = {"QUESTION": "east", "CHOICES": ["east", "west"], **changes}
    with pytest.raises((ValueError, TypeError), match=complaint):
        read_question(inputs, vocabulary, "ro", 100)


@pytest.mark.parametrize("name", ["QUESTION", "CHOICES"])
def test_read_question_names_what_is_absent(vocabulary: Vocabulary, name: str) -> None:
    """Both fields are needed."""
    inputs = {"QUESTION": "east", "CHOICES": ["east", "west"]}
    del inputs[name]
    with pytest.raises(ValueError, match=f"{name} should be defined in inputs"):
        read_question(inputs, vocabulary, "ro", 100)


def test_known_share_is_the_mean_over_question_and_choices(vocabulary: Vocabulary) -> None:
    """A question known by half and one known choice of two are two thirds of a half each."""
    question = question_of(vocabulary, "east xyzzy", "east", "plugh xyzzy")
    assert pytest.approx((0.5 + 1 + 0) / 3) == known_share(question)
    assert ["xyzzy", "plugh"] == unknown_words(question)


@pytest.mark.parametrize(("answer", "expected"), [(None, None), ("b", 1), (" b ", 1)])
def test_asked_choice_is_the_place_of_the_answer(answer: Any, expected: int | None) -> None:
    """An answer among the choices is judged; without one, the best is."""
    assert expected == asked_choice({"ANSWER": answer}, ["a", "b"])


@pytest.mark.parametrize("answer", ["c", 1, ["a"], "", {"a": 1}])
def test_asked_choice_refuses_others(answer: Any) -> None:
    """What is none of the choices cannot be judged."""
    with pytest.raises(ValueError, match="ANSWER should be one of CHOICES, not"):
        asked_choice({"ANSWER": answer}, ["a", "b"])


def test_padded_counts_padding_as_nothing() -> None:
    """Shorter texts are filled up with a row that has the weight 0."""
    ids, mask = padded([Meaning([3, 1], [1, 0.5], [], 1.0), Meaning([], [], [], 0.0)])
    assert [[3, 1], [0, 0]] == ids.tolist()
    assert [[1, 0.5], [0, 0]] == mask.tolist()


def question_with(choice_count: int, words: int) -> Question:
    meaning = Meaning([0] * words, [1.0] * words, [], 1.0)
    return Question("", [""] * choice_count, "en", meaning, [meaning] * choice_count)


def test_groups_hold_questions_with_as_many_choices() -> None:
    """Questions of one group have equally many choices, and all questions are in one."""
    questions = [question_with(count, 1) for count in (2, 3, 2, 4, 3)]
    assert [[0, 2], [1, 4], [3]] == list(groups(questions))


def test_groups_are_bounded_by_their_padded_size() -> None:
    """A group is closed before its longest text makes it too large."""
    long = question_with(2, MAX_WORDS_AT_ONCE // 4)
    assert [[0, 1], [2, 3]] == list(groups([long] * 4))
    assert [[0]] == list(groups([question_with(2, MAX_WORDS_AT_ONCE)]))
