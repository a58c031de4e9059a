"""Integration tests of the endpoints with their real models, in this process."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basic_inference_server import FlaskWorker
from basic_inference_server.testing import WorkerHarness, run_worker
from basic_inference_server.worker.load_error import EndpointLoadError
from endpoints._word_vectors import DATA_FOLDER, WordVectors, read_vectors
from endpoints.basic_quiz_model import BasicQuizModelWorker
from endpoints.digits import DigitsWorker
from endpoints.dummy_model_demo1 import DummyModelDemo1Worker
from endpoints.dummy_model_demo2 import DummyModelDemo2Worker
from endpoints.get_aprox import GetAproxWorker
from endpoints.get_conf import GetConfWorker
from endpoints.get_qa import GetQaWorker
from endpoints.get_sim import GetSimWorker
from endpoints.get_tags import GetTagsWorker
from endpoints.sentiment import SentimentWorker

PAGES = Path(__file__).parents[3] / "docs" / "reference" / "endpoints"
WORKERS: dict[str, type[FlaskWorker]] = {
    "dummy_model_demo1": DummyModelDemo1Worker,
    "dummy_model_demo2": DummyModelDemo2Worker,
    "sentiment": SentimentWorker,
    "get_sim": GetSimWorker,
    "get_tags": GetTagsWorker,
    "get_qa": GetQaWorker,
    "get_aprox": GetAproxWorker,
    "get_conf": GetConfWorker,
    "basic_quiz_model": BasicQuizModelWorker,
    "digits": DigitsWorker,
}
# A request in a shell block, and the answer in the next JSON block.
EXAMPLE = re.compile(r"-d '(?P<request>\{.*?\})'\n```.*?```json\n(?P<answer>.*?)```", re.DOTALL)


def documented_examples() -> Iterator[Any]:
    for name, worker in WORKERS.items():
        page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        for number, example in enumerate(EXAMPLE.finditer(page), start=1):
            request, answer = json.loads(example["request"]), json.loads(example["answer"])
            yield pytest.param(name, worker, request, answer, id=f"{name} {number}")


@pytest.fixture(scope="module")
def shipped() -> WordVectors:
    return read_vectors(DATA_FOLDER / "glove20k_i8.npz")


@pytest.fixture
def _gensim_may_leak() -> Iterator[None]:
    """Tolerate gensim's own leak: load_word2vec_format leaves its file to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.mark.parametrize(("name", "worker", "request_", "answer"), list(documented_examples()))
def test_documented_example_is_true(
    name: str, worker: type[FlaskWorker], request_: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Each example of an endpoint's page gives the answer that the page shows."""
    assert name == request_["SIGNATURE"]
    assert _approximate(answer) == run_worker(worker, request_)


def _approximate(value: Any) -> Any:
    """Let numbers differ by 0.001, wherever they are."""
    if isinstance(value, dict):
        return {key: _approximate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_approximate(item) for item in value]
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


def test_every_page_has_an_example() -> None:
    """No page has lost its example, or has one that the tests cannot read."""
    commands = sum((PAGES / f"{name}.md").read_text().count(" -d '{") for name in WORKERS)
    assert commands == len(list(documented_examples()))
    assert set(WORKERS) == {example.values[0] for example in documented_examples()}


@pytest.mark.parametrize(
    ("text", "compound", "label"),
    [
        pytest.param("The service was excellent and fast!", 0.6114, "positive", id="positive"),
        pytest.param("The book is on the table.", 0.0, "neutral", id="neutral"),
        pytest.param("The food was awful and the staff was rude.", -0.7184, "negative", id="bad"),
        pytest.param("", 0.0, "neutral", id="empty"),
        pytest.param("😀", 0.3612, "positive", id="emoji"),
    ],
)
def test_sentiment_of_a_text(text: str, compound: float, label: str) -> None:
    """A text's compound value and label are those of the model's acceptance list."""
    answer = run_worker(SentimentWorker, {"TEXT": text})
    assert pytest.approx(compound, abs=1e-3) == answer["compound"]
    assert label == answer["label"]


def test_sentiment_of_many_texts_equals_one_by_one() -> None:
    """A list of texts gets, in its order, what each text gets alone."""
    texts = ["I love it", "I hate it", ""]
    alone = [run_worker(SentimentWorker, {"TEXT": text}) for text in texts]
    assert alone == run_worker(SentimentWorker, {"TEXTS": texts})["data"]


def test_sentiment_of_no_texts_is_an_empty_list() -> None:
    """An empty list is an answer, not a failure."""
    assert [] == run_worker(SentimentWorker, {"TEXTS": []})["data"]


def test_sentiment_limits_come_from_the_configuration() -> None:
    """A section's MAX_CHARS is laid over the default."""
    with pytest.raises(ValueError, match="4 characters; at most 3"):
        run_worker(SentimentWorker, {"TEXT": "good"}, {"MAX_CHARS": 3})


def test_sentiment_longest_worst_text_is_done_in_time() -> None:
    """The text that VADER is slowest with, at the default limit, stays far below the timeout."""
    text = ("this is a good movie but bad " * 400)[:10_000]
    assert "negative" == run_worker(SentimentWorker, {"TEXT": text})["label"]


def test_sentiment_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where vaderSentiment is missing, the load error names the extra."""
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    hint = r'sentiment needs vaderSentiment: pip install "basic_inference_server\[models\]"'
    with pytest.raises((ImportError, EndpointLoadError), match=hint):
        run_worker(SentimentWorker, {"TEXT": "good"})


def test_get_sim_gives_the_acceptance_values() -> None:
    """The five neighbours of romania are those of the model's acceptance list."""
    expected = {
        "bulgaria": 0.9012,
        "slovakia": 0.8679,
        "hungary": 0.8595,
        "moldova": 0.8464,
        "latvia": 0.8367,
    }
    found = run_worker(GetSimWorker, {"WORD": "romania", "TOPN": 5})["data"]
    assert list(expected) == [item["word"] for item in found]
    assert list(expected.values()) == pytest.approx([item["score"] for item in found], abs=1e-3)


def test_get_sim_default_number_comes_from_the_configuration() -> None:
    """A section's TOPN is used when the request names none."""
    assert 3 == len(run_worker(GetSimWorker, {"WORD": "king"}, {"TOPN": 3})["data"])


def test_get_sim_refuses_an_unknown_word_by_name() -> None:
    """A word outside the table is a bad input, and the message has the word."""
    with pytest.raises(ValueError, match="WORD 'univercity' is not among the 20000 words"):
        run_worker(GetSimWorker, {"WORD": "univercity"})


def test_get_sim_refuses_a_configuration_out_of_range() -> None:
    """A TOPN that breaks its rule stops the load, with key and value."""
    with pytest.raises(EndpointLoadError, match="TOPN is 101"):
        run_worker(GetSimWorker, {"WORD": "king"}, {"TOPN": 101})


@pytest.mark.parametrize("word", ["romania", "king", "physics", "the", "ntsb"])
def test_get_sim_finds_what_gensim_finds(word: str, shipped: WordVectors) -> None:
    """The search without gensim returns gensim's words with gensim's scores."""
    from gensim.models.keyedvectors import KeyedVectors  # noqa: PLC0415 - takes a second

    keyed = KeyedVectors(50)
    keyed.add_vectors(shipped.words, shipped.rows)
    expected = keyed.most_similar(word, topn=20)
    found = shipped.nearest(word, 20)
    assert [name for name, _ in expected] == [name for name, _ in found]
    assert [score for _, score in expected] == pytest.approx([s for _, s in found], abs=1e-5)


@pytest.mark.usefixtures("_gensim_may_leak")
@pytest.mark.parametrize("name", ["own.txt", "own.bin"])
def test_get_sim_reads_word2vec_files(name: str, tmp_path: Path) -> None:
    """VECTORS may name a table of one's own in word2vec's text or binary format."""
    rows = {"up": [0.0, 1.0], "high": [0.1, 1.0], "right": [1.0, 0.0]}
    lines = [f"{len(rows)} 2".encode()]
    for word, row in rows.items():
        as_text = " ".join(map(str, row)).encode()
        as_bytes = np.array(row, dtype=np.float32).tobytes()
        lines.append(word.encode() + b" " + (as_bytes if name.endswith(".bin") else as_text))
    (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
    answer = run_worker(GetSimWorker, {"WORD": "up", "TOPN": 1}, {"VECTORS": str(tmp_path / name)})
    assert ["high"] == [item["word"] for item in answer["data"]]


def test_get_sim_without_gensim_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only a word2vec file needs gensim, and where it is missing the error names the extra."""
    monkeypatch.setitem(sys.modules, "gensim.models.keyedvectors", None)
    assert 5 == len(run_worker(GetSimWorker, {"WORD": "king"})["data"])
    hint = r'get_sim needs gensim: pip install "basic_inference_server\[models\]"'
    with pytest.raises(ImportError, match=hint):
        read_vectors(tmp_path / "own.bin")


@pytest.mark.parametrize("value", ["word", 5, None, ["a"], {"a": 1}])
def test_demo1_returns_any_input_beside_its_one_word(value: Any) -> None:
    """Every input, also a falsy one, gets the same word and is shown as it was understood."""
    answer = run_worker(DummyModelDemo1Worker, {"INPUT_VALUE": value})
    assert {
        "dummy_model_a_predict": "same-word-always",
        "inputs": {"INPUT_VALUE": value, "LANGUAGE": "ro"},
        "worker_ver": "1.2.1",
    } == answer


@pytest.mark.parametrize("key", ["LANGUAGE", "language"])
def test_demo1_takes_the_language_in_either_spelling(key: str) -> None:
    """The language may be given in capitals or small letters."""
    answer = run_worker(DummyModelDemo1Worker, {"INPUT_VALUE": "word", key: "en"})
    assert "en" == answer["inputs"]["LANGUAGE"]


@pytest.mark.parametrize(
    ("value", "config", "expected"),
    [
        pytest.param(5, {}, "5*0 + 0 = 0 PREDICTED", id="defaults"),
        pytest.param("5", {}, "5*0 + 0 = 0 PREDICTED", id="text"),
        pytest.param(5, {"WEIGHT": 2, "BIAS": 1}, "5*2 + 1 = 11 PREDICTED", id="configured"),
        pytest.param(5.9, {"WEIGHT": 2}, "5.9*2 + 0 = 10 PREDICTED", id="fraction"),
        pytest.param(0, {}, "0*0 + 0 = 0 PREDICTED", id="zero is a value"),
    ],
)
def test_demo2_calculates(value: Any, config: dict[str, Any], expected: str) -> None:
    """The answer is the calculation with the configured weight and bias."""
    answer = run_worker(DummyModelDemo2Worker, {"INPUT_VALUE": value}, config)
    assert {"dummy_model_predict": expected} == answer


@pytest.mark.parametrize(
    ("worker_class", "shown"),
    [
        pytest.param(DummyModelDemo1Worker, "('5', 'ro')", id="demo1"),
        pytest.param(DummyModelDemo2Worker, "'5' using weight 2 and bias 1", id="demo2"),
    ],
)
def test_demos_record_each_prediction(worker_class: type[FlaskWorker], shown: str) -> None:
    """Each prediction leaves one notification of kind log with the input."""
    harness = WorkerHarness(worker_class, {"WEIGHT": 2, "BIAS": 1})
    harness.run({"INPUT_VALUE": "5"})
    assert [("log", f"Predicting on usr_input: {shown}")] == [
        (notification["notif"], notification["msg"]) for notification in harness.notifications
    ]


@pytest.mark.parametrize("worker", [DummyModelDemo1Worker, DummyModelDemo2Worker])
def test_demos_refuse_inputs_without_a_value(worker: type[FlaskWorker]) -> None:
    """Without INPUT_VALUE the message says which key is wanted."""
    with pytest.raises(ValueError, match="INPUT_VALUE should be defined in inputs"):
        run_worker(worker, {})
