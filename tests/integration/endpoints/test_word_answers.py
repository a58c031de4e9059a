"""Integration tests of the word endpoints and the ONNX ones with their real models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server import FlaskWorker
from basic_inference_server.testing import WorkerHarness, run_worker
from basic_inference_server.worker.load_error import EndpointLoadError
from endpoints.basic_quiz_model import BasicQuizModelWorker
from endpoints.digits import DigitsWorker
from endpoints.get_aprox import GetAproxWorker
from endpoints.get_conf import GetConfWorker
from endpoints.get_qa import GetQaWorker
from endpoints.get_sim import GetSimWorker
from endpoints.get_tags import GetTagsWorker

Ask = Callable[[type[FlaskWorker], dict[str, Any]], Any]

QUESTIONS_FILE = Path(__file__).parent / "quiz_questions.txt"
HARNESSES: dict[str, WorkerHarness] = {}
CAPITAL = {"QUESTION": "What is the capital of France?", "CHOICES": ["Berlin", "Paris", "Madrid"]}
TOPICS = ["medicine", "sports", "politics", "technology", "economy", "music"]
TOPICS_RO = ["medicină", "sport", "politică", "tehnologie", "economie", "muzică"]
# The first two images of the data set, a 0 and a 1.
ZERO = """
0 0 5 13 9 1 0 0 0 0 13 15 10 15 5 0 0 3 15 2 0 11 8 0 0 4 12 0 0 8 8 0
0 5 8 0 0 9 8 0 0 4 11 0 1 12 7 0 0 2 14 5 10 12 0 0 0 0 6 13 10 0 0 0
"""
ONE = """
0 0 0 12 13 5 0 0 0 0 0 11 16 9 0 0 0 0 3 15 16 6 0 0 0 7 15 16 16 2 0 0
0 0 1 16 16 3 0 0 0 0 1 16 16 6 0 0 0 0 1 16 16 6 0 0 0 0 0 11 16 10 0 0
"""
HOSTILE = [
    pytest.param("a\0b", id="NUL"),
    pytest.param("😀😀", id="emoji"),
    pytest.param("مرحبا بالعالم", id="right to left"),
    pytest.param("\u202eevil", id="an override of direction"),
    pytest.param("\ud800", id="half of a pair"),
    pytest.param("İ" * 50, id="grows in lower case"),
    pytest.param("a\u0301" * 50, id="combining marks"),
    pytest.param("'; DROP TABLE words; --", id="SQL"),
]


def loaded(worker: type[FlaskWorker]) -> Any:
    """Return a harness that is loaded once for all tests."""
    if worker.__name__ not in HARNESSES:
        HARNESSES[worker.__name__] = WorkerHarness(worker)
    return HARNESSES[worker.__name__]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Ask a worker that is loaded once for all tests."""

    def answer(worker: type[FlaskWorker], inputs: dict[str, Any]) -> Any:
        result = loaded(worker).run(inputs)
        json.dumps(result, allow_nan=False)  # nothing of numpy, and no NaN
        return result

    yield answer
    HARNESSES.clear()


def pixels(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def questions() -> list[list[str]]:
    lines = QUESTIONS_FILE.read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split("|")] for line in lines if line[0] != "#"]


def words_of(answer: list[dict[str, Any]]) -> list[str]:
    return [item["word"] for item in answer]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({"WORD": "pisică"}, ["câine", "cățel"], id="Romanian"),
        pytest.param({"WORD": "pisicilor"}, ["câine", "cățel"], id="inflected"),
        pytest.param({"WORD": "fizica", "LANGUAGE": "ro"}, ["chimie", "matematică"], id="plain"),
        pytest.param({"WORD": "romania", "LANGUAGE": "ro"}, ["bulgaria", "slovacia"], id="named"),
        pytest.param({"WORD": "Romania"}, ["bulgaria", "slovakia"], id="exactly English"),
        pytest.param({"WORD": "king", "language": "en"}, ["prince", "queen"], id="English"),
    ],
)
def test_get_sim_answers_in_the_language_of_the_word(
    ask: Ask, inputs: dict[str, Any], expected: list[str]
) -> None:
    """Romanian words have Romanian neighbours, English words English ones."""
    assert expected == words_of(ask(GetSimWorker, {**inputs, "TOPN": 2}))


def test_get_sim_together_equals_one_by_one(ask: Ask) -> None:
    """A batch of words of both languages gets exactly what each word gets alone."""
    worker = loaded(GetSimWorker).worker
    words = ["cat", "pisică", "romania", "rege", "physics", "the"] * 6
    batch = [
        worker._pre_process({"WORD": word, "TOPN": 1 + number}) for number, word in enumerate(words)
    ]
    assert [worker._predict(query) for query in batch] == worker._predict_batch(batch)


def test_refused_word_leaves_its_batch_as_it_is() -> None:
    """Through the engine's own execution of batches, as an author tests it."""
    inputs = [{"WORD": "cat"}, {"WORD": "nosuchword"}, {"WORD": "pisică", "TOPN": 2}]
    cat, refused, pisica = loaded(GetSimWorker).run_batch(inputs)
    assert [cat, pisica] == [loaded(GetSimWorker).run(inputs[n]) for n in (0, 2)]
    assert "WORD 'nosuchword' is not among" in str(refused)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("univercity", ["university"]),
        ("definately", ["definitely", "indefinitely"]),
        ("medcină", ["medicină", "medina"]),
        ("UNIVERSITATE", ["universitate"]),
        ("xyzzy", []),
        ("a" * 100, []),
    ],
)
def test_get_aprox_finds_what_was_meant(ask: Ask, word: str, expected: list[str]) -> None:
    """A mistyped word finds the right one; what is far from all words finds none."""
    assert expected == words_of(ask(GetAproxWorker, {"WORD": word}))[: len(expected) or 5]


@pytest.mark.parametrize("word", ["univercity", "romnia", "teh", "computr", "qqqq", "bank"])
def test_get_aprox_finds_what_difflib_finds(ask: Ask, word: str) -> None:
    """Leaving most words out before they are compared changes nothing in the answer."""
    worker = loaded(GetAproxWorker).worker
    expected = {
        candidate: ratio
        for candidate in worker.spellings["en"].letters
        if (ratio := SequenceMatcher(None, candidate, word, autojunk=False).ratio()) >= 0.8
    }
    found = worker.spellings["en"].close_to(word, 0.8)
    assert expected == {close.word: close.score for close in found}


def test_get_aprox_asks_one_language_where_it_is_named(ask: Ask) -> None:
    """With a language only its words are answered."""
    for language, word in (("ro", "românia"), ("en", "romania")):
        found = ask(GetAproxWorker, {"WORD": "romnia", "LANGUAGE": language})
        assert (word, {language}) == (found[0]["word"], {item["language"] for item in found})


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("The hospital hired new surgeons and nurses to treat patients.", TOPICS, "medicine"),
        ("The striker scored twice as the team won the championship.", TOPICS, "sports"),
        ("Inflation rose while the central bank cut interest rates.", TOPICS, "economy"),
        ("Spitalul a angajat chirurgi noi pentru pacienții cu gripă.", TOPICS_RO, "medicină"),
        ("Parlamentul a votat legea, iar guvernul a anunțat alegeri.", TOPICS_RO, "politică"),
        ("Orchestra a cântat un concert la pian.", TOPICS, "music"),
        ("She plays the violin in an orchestra.", TOPICS_RO, "muzică"),
    ],
)
def test_get_tags_finds_the_topic(ask: Ask, text: str, tags: list[str], expected: str) -> None:
    """The tag that fits comes first, also from the other language."""
    assert expected == ask(GetTagsWorker, {"TEXT": text, "TAGS": tags})["tags"][0]["tag"]


def test_get_tags_names_the_tags_it_does_not_know(ask: Ask) -> None:
    """A tag without known words has no score, and the answer says so."""
    answer = ask(GetTagsWorker, {"TEXT": "football match", "TAGS": ["xyzzy", "sports", "7"]})
    assert (["sports"], ["xyzzy", "7"]) == (
        [item["tag"] for item in answer["tags"]],
        answer["unknown_tags"],
    )


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        pytest.param({}, "TEXT should be defined in inputs", id="nothing"),
        pytest.param({"TEXT": 5}, "TEXT should be a text, not int", id="number"),
        pytest.param({"TEXT": "123"}, "the model knows no word of TEXT", id="no words"),
        pytest.param({"TEXT": "a" * 100_001}, "100001 characters; at most 100000", id="long"),
        pytest.param({"TEXT": "cat", "TAGS": []}, "TAGS should hold 1 to 200", id="no tags"),
        pytest.param({"TEXT": "cat", "TAGS": "x"}, "TAGS should be a list", id="one tag"),
        pytest.param({"TEXT": "cat", "TOPN": 0}, "TOPN should be a whole", id="none wanted"),
    ],
)
def test_get_tags_refuses(ask: Ask, inputs: dict[str, Any], complaint: str) -> None:
    """What cannot be tagged is refused with what is wrong."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        ask(GetTagsWorker, inputs)


@pytest.mark.parametrize("worker", [GetQaWorker, GetConfWorker, BasicQuizModelWorker])
def test_capital_of_france_has_its_acceptance_value(ask: Ask, worker: type[FlaskWorker]) -> None:
    """All three give Paris the same probability, in numpy and in ONNX."""
    answer = ask(worker, CAPITAL)
    assert "Paris" == answer["answer"]
    assert pytest.approx(0.7618, abs=1e-3) == answer.get("prob", answer.get("confidence"))


@pytest.mark.parametrize(
    ("worker", "english", "romanian"),
    [(GetQaWorker, 15, 19), (BasicQuizModelWorker, 14, 16)],
)
def test_quiz_is_as_good_as_its_page_says(
    ask: Ask, worker: type[FlaskWorker], english: int, romanian: int
) -> None:
    """Of 24 questions in each language the documented number is answered rightly."""
    right = [
        choices[0] == ask(worker, {"QUESTION": question, "CHOICES": choices})["answer"]
        for question, *choices in questions()
    ]
    assert (48, english, romanian) == (len(right), sum(right[:24]), sum(right[24:]))


def test_get_conf_is_right_more_often_where_it_is_confident(ask: Ask) -> None:
    """Of the answers it is confident about, far more are right, as its page says."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for question, *choices in questions():
        answer = ask(GetConfWorker, {"QUESTION": question, "CHOICES": choices})
        right[answer["is_confident"]].append(choices[0] == answer["answer"])
    assert (25, 22) == (len(right[True]), sum(right[True]))
    assert (23, 12) == (len(right[False]), sum(right[False]))


def test_quiz_together_equals_one_by_one(ask: Ask) -> None:
    """Many questions with different numbers of choices get exactly what each gets alone."""
    many = [(question, choices[: 2 + n % 3]) for n, (question, *choices) in enumerate(questions())]
    many = [(question, [*choices, "the long way round"]) for question, choices in many]
    alone = [ask(BasicQuizModelWorker, {"QUESTION": q, "CHOICES": c}) for q, c in many]
    together = ask(
        BasicQuizModelWorker,
        {"QUESTIONS": [q for q, _ in many], "CHOICES": [c for _, c in many]},
    )
    assert alone == together
    worker = loaded(BasicQuizModelWorker).worker
    batch = [worker._pre_process({"QUESTION": q, "CHOICES": c}) for q, c in many]
    assert [worker._predict(quiz) for quiz in batch] == worker._predict_batch(batch)


def test_quiz_of_no_questions_is_an_empty_list(ask: Ask) -> None:
    """An empty list is an answer, not a failure."""
    assert [] == ask(BasicQuizModelWorker, {"QUESTIONS": [], "CHOICES": []})


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        pytest.param({}, "give either QUESTION with CHOICES, or QUESTIONS", id="nothing"),
        pytest.param({**CAPITAL, "QUESTIONS": []}, "give either QUESTION", id="both"),
        pytest.param({"QUESTIONS": ["a cat"]}, "CHOICES should be defined", id="no choices"),
        pytest.param(
            {"QUESTIONS": ["a cat"], "CHOICES": []}, "CHOICES should hold 1 lists", id="too few"
        ),
        pytest.param(
            {"QUESTIONS": ["a cat"], "CHOICES": ["cat"]},
            r"CHOICES\[0\] should be a list of texts",
            id="a text for a list",
        ),
        pytest.param(
            {"QUESTIONS": ["cat"] * 101, "CHOICES": [["a", "b"]] * 101},
            "QUESTIONS should hold 0 to 100 texts, not 101",
            id="too many",
        ),
        pytest.param(
            {"QUESTIONS": ["cat"] * 50, "CHOICES": [["dog " * 150] * 64] * 50},
            "characters altogether; at most 200000 are taken",
            id="too long altogether",
        ),
    ],
)
def test_quiz_refuses(ask: Ask, inputs: dict[str, Any], complaint: str) -> None:
    """What is no quiz is refused with what is wrong."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        ask(BasicQuizModelWorker, inputs)


def test_digits_have_their_acceptance_values(ask: Ask) -> None:
    """The first two images of the data set are a 0 and a 1, with the known probabilities."""
    for text, digit, prob in ((ZERO, 0, 0.9913), (ONE, 1, 0.9958)):
        answer = ask(DigitsWorker, {"PIXELS": pixels(text)})
        assert (digit, 10) == (answer["digit"], len(answer["probs"]))
        assert pytest.approx(prob, abs=1e-3) == answer["prob"]


def test_digits_together_equal_one_by_one(ask: Ask) -> None:
    """Many images get, in their order, exactly what each gets alone."""
    images = [[(number * step) % 17 for number in range(64)] for step in range(1, 40)]
    alone = [ask(DigitsWorker, {"PIXELS": image}) for image in images]
    assert alone == ask(DigitsWorker, {"IMAGES": images})
    assert [] == ask(DigitsWorker, {"IMAGES": []})
    worker = loaded(DigitsWorker).worker
    requests = [{"IMAGES": images}, {"PIXELS": images[0]}, {"IMAGES": []}, {"IMAGES": images[:5]}]
    batch = [worker._pre_process(request) for request in requests]
    assert [worker._predict(request) for request in batch] == worker._predict_batch(batch)


@pytest.mark.parametrize(
    ("worker", "name"),
    [(DigitsWorker, "digits"), (BasicQuizModelWorker, "basic_quiz_model")],
)
def test_onnx_endpoint_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, worker: type[FlaskWorker], name: str
) -> None:
    """Where onnxruntime is missing, the load error names the extra."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    hint = rf'{name} needs onnxruntime: pip install "basic_inference_server\[models\]"'
    with pytest.raises((ImportError, EndpointLoadError), match=hint):
        run_worker(worker, {})


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_answered_or_refused(ask: Ask, text: str) -> None:
    """Whatever a text holds, an endpoint answers JSON or says in a sentence what is wrong."""
    requests: list[tuple[type[FlaskWorker], dict[str, Any]]] = [
        (GetSimWorker, {"WORD": text}),
        (GetAproxWorker, {"WORD": text}),
        (GetTagsWorker, {"TEXT": text}),
        (GetTagsWorker, {"TEXT": "cat", "TAGS": [text]}),
        (GetQaWorker, {"QUESTION": text, "CHOICES": ["a cat", text]}),
        (GetConfWorker, {**CAPITAL, "ANSWER": text}),
        (BasicQuizModelWorker, {"QUESTION": "a cat", "CHOICES": ["dog", text]}),
    ]
    for worker, inputs in requests:
        try:
            ask(worker, inputs)
        except ValueError as refusal:
            assert 0 < len(str(refusal)) < 300  # noqa: PT017 - refusing is one of two good ends


@pytest.mark.parametrize(
    ("worker", "inputs", "is_whole"),
    [
        pytest.param(
            GetTagsWorker,
            {"TEXT": ("cat spitalului " * 7_000)[:100_000]},
            lambda answer: answer["language"] == "ro" and len(answer["tags"]) == 5,
            id="tags",
        ),
        pytest.param(
            BasicQuizModelWorker,
            {"QUESTIONS": ["a cat"] * 50, "CHOICES": [["a " * 30] * 60] * 50},
            lambda answer: [60] * 50 == [len(one["probs"]) for one in answer],
            id="quiz",
        ),
        pytest.param(
            DigitsWorker,
            {"IMAGES": [[16] * 64] * 1_000},
            lambda answer: [10] * 1_000 == [len(one["probs"]) for one in answer],
            id="digits",
        ),
        pytest.param(
            GetAproxWorker,
            {"WORD": "ab" * 50, "TOPN": 100},
            lambda answer: [] == answer,  # no word is anything like it
            id="aprox",
        ),
    ],
)
@pytest.mark.timeout(5)
def test_largest_request_is_done_in_time(
    ask: Ask,
    worker: type[FlaskWorker],
    inputs: dict[str, Any],
    is_whole: Callable[[Any], bool],
) -> None:
    """What is as large as the limits allow is answered, far within the timeout of 30 s."""
    assert is_whole(ask(worker, inputs))
