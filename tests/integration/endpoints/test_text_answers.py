"""Integration tests of the endpoints that read texts and files, with their real models."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basic_inference_server import Binary, FlaskWorker
from basic_inference_server.testing import WorkerHarness, run_worker
from basic_inference_server.worker.load_error import EndpointLoadError
from endpoints._text_embedding import TextEmbedder
from endpoints.entity_fishing import EntityFishingWorker
from endpoints.file_type import FileTypeWorker
from endpoints.keywords import KeywordsWorker
from endpoints.langid import LangidWorker
from endpoints.lsh import LshWorker
from endpoints.summarization import SummarizationWorker

ROOT = Path(__file__).parents[3]
TEXT_WORKERS = [
    KeywordsWorker,
    SummarizationWorker,
    EntityFishingWorker,
    LangidWorker,
    LshWorker,
    FileTypeWorker,
]
ENGLISH = (
    "Solar power plants convert sunlight into electricity. Modern solar panels are made of silicon "
    "cells, and their price has fallen by ninety percent in ten years. Grid operators store "
    "surplus electricity in batteries, because solar panels produce nothing at night. Critics say "
    "that battery storage is still too expensive for small towns."
)
ROMANIAN = (
    "Guvernul României a aprobat bugetul pentru spitale publice. Ministerul Sănătății va cumpăra "
    "echipamente medicale pentru spitalele din județe, iar medicii rezidenți vor primi salarii "
    "mai mari. Spitalele publice au nevoie de medici și de asistente medicale. Opoziția spune că "
    "bugetul sănătății rămâne prea mic."
)


@cache
def loaded(name: str) -> WorkerHarness:
    """Return one worker of each kind for all tests."""
    return WorkerHarness(next(worker for worker in TEXT_WORKERS if worker.__name__ == name))


def run(worker: type[FlaskWorker], **inputs: Any) -> Any:
    return loaded(worker.__name__).run(inputs)


def entities(text: str, **inputs: Any) -> list[tuple[str, str]]:
    """Return the names in a text and what they were taken for."""
    found = run(EntityFishingWorker, TEXT=text, **inputs)["entities"]
    assert all(text[item["start"] : item["end"]] == item["mention"] for item in found)
    return [(item["mention"], item["wikidata"]) for item in found]


def test_embedding_is_the_one_of_wordllama() -> None:
    """Reading the package's files gives the vectors that the package gives."""
    import wordllama  # noqa: PLC0415 - half a second

    model = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    texts = ["The hospital hired nurses.", "a", "word " * 6000, "日本 😀\x00", ENGLISH]
    theirs = model.embed(texts, norm=True)
    ours = TextEmbedder().embed(texts)
    assert np.abs(ours - theirs).max() < 1e-6
    assert np.array_equal(ours[0], TextEmbedder().embed(texts[:1])[0])


def test_text_without_tokens_is_similar_to_nothing() -> None:
    """Its vector is zero, not NaN."""
    assert not TextEmbedder().embed([""]).any()


def test_keywords_of_english_text() -> None:
    """Repeated and central phrases come first, and a part of one does not follow it."""
    answer = run(KeywordsWorker, TEXT=ENGLISH, TOPN=3)
    assert "en" == answer["language"]
    assert ["solar panels", "electricity", "batteries"] == [
        item["keyword"] for item in answer["keywords"]
    ]
    assert [2, 2, 2] == [item["count"] for item in answer["keywords"]]
    assert pytest.approx(1.0) == answer["keywords"][0]["score"]


def test_keywords_of_romanian_text() -> None:
    """Inflected forms are brought together; the text's own forms are shown."""
    answer = run(KeywordsWorker, TEXT=ROMANIAN, TOPN=4)
    assert "ro" == answer["language"]
    assert ["medicale", "spitale publice", "bugetul", "Sănătății"] == [
        item["keyword"] for item in answer["keywords"]
    ]


def test_keywords_are_at_most_as_many_as_the_text_has() -> None:
    """A short text has few, one of small words has none."""
    found = run(KeywordsWorker, TEXT="The cat", LANGUAGE="en")["keywords"]
    assert ["cat"] == [item["keyword"] for item in found]
    assert [] == run(KeywordsWorker, TEXT="the of and", LANGUAGE="en")["keywords"]
    assert [] == run(KeywordsWorker, TEXT="12 34 !!")["keywords"]


def test_keywords_diversity_comes_from_the_configuration() -> None:
    """Without it the most relevant phrases come, alike or not."""
    alike = run_worker(KeywordsWorker, {"TEXT": ENGLISH, "TOPN": 3}, {"DIVERSITY": 0})
    scores = [item["score"] for item in alike["keywords"]]
    assert sorted(scores, reverse=True) == scores
    assert all("solar" in item["keyword"].lower() for item in alike["keywords"])


@pytest.mark.parametrize(
    ("text", "positions"), [(ENGLISH, [1, 2]), (ROMANIAN, [1, 2])], ids=["en", "ro"]
)
def test_summary_has_the_central_sentences_in_order(text: str, positions: list[int]) -> None:
    """They are sentences of the text as it has them."""
    answer = run(SummarizationWorker, TEXT=text, SENTENCES=2)
    assert positions == [item["position"] for item in answer["sentences"]]
    assert all(item["sentence"] in text for item in answer["sentences"])
    assert " ".join(item["sentence"] for item in answer["sentences"]) == answer["summary"]
    assert 4 == answer["sentence_count"]


def test_summary_of_a_short_text_is_the_text() -> None:
    """There is nothing to leave out."""
    assert "One. Two." == run(SummarizationWorker, TEXT="One. Two.", LANGUAGE="en")["summary"]


def test_summary_has_a_repeated_sentence_once() -> None:
    """Repetition makes no sentence more central."""
    text = "The bridge is new. " * 5 + "The river is wide. The bridge crosses the river."
    answer = run(SummarizationWorker, TEXT=text, SENTENCES=3, LANGUAGE="en")
    assert [0, 5, 6] == [item["position"] for item in answer["sentences"]]
    assert 7 == answer["sentence_count"]


def test_summary_of_too_many_sentences_is_refused() -> None:
    """The sentence says how many there are and how many are taken."""
    with pytest.raises(ValueError, match="TEXT has 3 sentences; at most 2 are taken"):
        run_worker(SummarizationWorker, {"TEXT": "An ox. Be it. Can do."}, {"MAX_SENTENCES": 2})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Amazon is the largest river in Brazil, crossing the rainforest.",
            [("Amazon", "Q3783"), ("Brazil", "Q155")],
        ),
        (
            "Amazon and Google compete in cloud computing in the United States.",
            [("Amazon", "Q3884"), ("Google", "Q95"), ("United States", "Q30")],
        ),
        ("She baked an apple pie.", [("apple", "Q89")]),
        ("Apple presented a new phone in Paris.", [("Apple", "Q312"), ("Paris", "Q90")]),
        ("Apple trees grow in Poland and bear fruit.", [("Apple", "Q89"), ("Poland", "Q36")]),
        ("Target opened a new store. The target is met.", [("Target", "Q1046951")]),
        ("Orange juice is healthy.", []),
        ("Global warming is a problem.", []),
        (
            "Guvernul României a semnat cu Germania la Bucureşti.",
            [("României", "Q218"), ("Germania", "Q183"), ("Bucureşti", "Q19660")],
        ),
        ("Firma Vodafone oferă internet.", [("Vodafone", "Q122141")]),
        ("Nothing is named here.", []),
    ],
)
def test_entities_are_told_apart_by_the_words_around(
    text: str, expected: list[tuple[str, str]]
) -> None:
    """One name gets the identifier of what the sentence speaks of; other words get none."""
    assert expected == entities(text)


def test_entities_below_the_score_are_left_out() -> None:
    """The request's MIN_SCORE is used before the configured one."""
    text = "Global warming is a problem for Turkey."
    assert [("Turkey", "Q43")] == entities(text)
    assert [("Global", "Q5570585"), ("Turkey", "Q43")] == entities(text, MIN_SCORE=0)
    assert [] == entities(text, MIN_SCORE=1)


def test_entities_of_an_own_file(tmp_path: Path) -> None:
    """GAZETTEER may name a file of one's own."""
    (tmp_path / "own.gz").write_bytes(gzip.compress(b"Q1\tORG\t9\tAcme\tACME Ltd\tanvils\n"))
    answer = run_worker(
        EntityFishingWorker, {"TEXT": "We met Acme there."}, {"GAZETTEER": str(tmp_path / "own.gz")}
    )
    assert ["Q1"] == [item["wikidata"] for item in answer["entities"]]


def test_entities_cannot_be_loaded_from_a_broken_file(tmp_path: Path) -> None:
    """A file of another format stops the load."""
    (tmp_path / "own.gz").write_bytes(gzip.compress(b"Q1 Acme\n"))
    with pytest.raises((ValueError, EndpointLoadError), match="unpack"):
        run_worker(EntityFishingWorker, {"TEXT": "x"}, {"GAZETTEER": str(tmp_path / "own.gz")})


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bună ziua, ce mai faci?", "ro"),
        ("The cat sat on the mat.", "en"),
        ("Der Hund liegt auf dem Sofa und schläft.", "de"),
        ("مرحبا بكم في هذا المكان", "ar"),
        ("Съешь же ещё этих мягких французских булок", "ru"),
        ("12 34 !! 😀", "und"),
    ],
)
def test_language_of_a_text(text: str, language: str) -> None:
    """A sentence is enough; a text without letters has no language."""
    assert language == run(LangidWorker, TEXT=text)["language"]


def test_languages_of_many_texts_equal_one_by_one() -> None:
    """A list gets, in its order, what each text gets alone."""
    texts = ["Bună ziua, ce mai faci?", "The cat sat on the mat.", "5"]
    alone = [run(LangidWorker, TEXT=text, TOPN=2) for text in texts]
    assert alone == run(LangidWorker, TEXTS=texts, TOPN=2)
    assert [2, 2, 1] == [len(item["ranking"]) for item in alone]


def test_languages_may_be_restricted() -> None:
    """LANGUAGES of the configuration are the only ones that are answered."""
    languages = {"LANGUAGES": ["en", "ro"]}
    assert "en" == run_worker(LangidWorker, {"TEXT": "Guten Tag"}, languages)["language"]
    with pytest.raises((ValueError, EndpointLoadError), match="klingon"):
        run_worker(LangidWorker, {"TEXT": "x"}, {"LANGUAGES": ["klingon"]})


def sample_files() -> dict[str, bytes]:
    """Return files of many kinds, made here or taken from this repository."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.txt", "hello " * 100)
    return {
        "python": Path(__file__).read_bytes(),
        "markdown": (ROOT / "README.md").read_bytes(),
        "json": json.dumps({"a": [1, 2, {"b": None}]}, indent=2).encode() * 3,
        "gzip": gzip.compress(b"x" * 5000, mtime=0),
        "zip": zipped.getvalue(),
        "empty": b"",
        "blanks": b" " * 9000,
        "inner": b" " * 5000 + b"import os\n" * 20 + b" " * 5000,
        "short": b"hello w",
        "bytes": b"\xff\xfe\xfd",
        "eight": b"12345678",
        "noise": bytes(range(256)) * 20,
    }


def test_file_types_are_those_of_magika() -> None:
    """Label, score and description are what the package's own code answers."""
    from magika import Magika  # noqa: PLC0415 - brings onnxruntime

    theirs = Magika()
    for name, content in sample_files().items():
        expected = theirs.identify_bytes(content)
        answer = run(FileTypeWorker, CONTENT=base64.b64encode(content).decode())
        assert str(expected.output.label) == answer["label"], name
        assert pytest.approx(expected.score, abs=1e-3) == answer["score"], name
        assert str(expected.dl.label) == answer["guess"], name
        output = expected.output
        assert (output.mime_type, output.group, output.description, output.is_text) == (
            answer["mime_type"],
            answer["group"],
            answer["description"],
            answer["is_text"],
        ), name


def test_file_type_of_a_text_and_of_its_bytes_are_the_same() -> None:
    """TEXT is the file's text in UTF-8, CONTENT its base64 or, decoded by the engine, its bytes."""
    text = "#!/usr/bin/env python\nimport os\n\nprint(os.getcwd())\n# ă\n"
    encoded = base64.b64encode(text.encode()).decode()
    answers = [run(FileTypeWorker, TEXT=text), run(FileTypeWorker, CONTENT=encoded)]
    answers.append(run(FileTypeWorker, CONTENT=text.encode()))
    raw = Binary(memoryview(text.encode()), "text/plain", "x.py")
    answers += [run(FileTypeWorker, BODY=raw), run(FileTypeWorker, CONTENT=raw)]
    assert ["python"] * 5 == [answer["label"] for answer in answers]
    assert [answers[0]] * 4 == answers[1:]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "give either CONTENT, a file as base64, or TEXT"),
        ({"CONTENT": "YQ==", "TEXT": "a"}, "give either CONTENT"),
        ({"BODY": Binary(b"x"), "TEXT": "a"}, "give either CONTENT"),
        ({"BODY": "a"}, "BODY is a file that is sent as the body"),
        ({"BODY": Binary(b"x" * 11)}, "BODY has 11 bytes; at most 10 are taken"),
        ({"CONTENT": 5}, "CONTENT should be a text, not int"),
        ({"CONTENT": "not base64!"}, "CONTENT is not base64"),
        ({"CONTENT": "YWI"}, "CONTENT is not base64"),
        ({"CONTENT": "ă"}, "CONTENT is not base64"),
        ({"TEXT": "x" * 11}, "TEXT has 11 bytes; at most 10 are taken"),
        ({"TEXT": b"x"}, "TEXT should be a text, not bytes"),
    ],
)
def test_file_type_refuses_other_inputs(inputs: dict[str, Any], sentence: str) -> None:
    """The sentence says what is wrong."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        run_worker(FileTypeWorker, inputs, {"MAX_BYTES": 10})


HOSTILE = {
    "nul": "\x00",
    "emoji": "😀🇷🇴👩‍👩‍👧",
    "right to left": "\u202e\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd\u202c",
    "combining marks": "a" + "\u0301" * 5000,
    "one long word": "a" * 100_000,
    "points": ". " * 50_000,
    "row of points": "." * 99_999 + "x",
    "row of quotes": "x." + '"' * 99_990 + "x",
    "empty lines": "a" + "\n " * 49_999,
    "hyphens": "a-" * 50_000,
    "letters apart": "a b " * 25_000,
    "capitals": "A. B! C? " * 200,
    "names": "Amazon Google Apple Paris " * 400,
    "blanks inside": "a" + " " * 99_998 + "b",
    "brackets": "([{<\"'" * 1000,
    "no language": "\u3042\u3044 \u4e2d\u6587 \u0e44\u0e17\u0e22",
}


@pytest.mark.parametrize("worker", TEXT_WORKERS, ids=lambda worker: worker.__name__)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_answered_or_refused(worker: type[FlaskWorker], text: str) -> None:
    """Each gets JSON without NaN, or a sentence; never another failure."""
    try:
        answer = run(worker, TEXT=text)
    except ValueError as error:
        assert str(error).startswith("TEXT ")  # noqa: PT017 - one of two outcomes
    else:
        json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("worker", TEXT_WORKERS, ids=lambda worker: worker.__name__)
def test_same_text_gets_the_same_answer(worker: type[FlaskWorker]) -> None:
    """Nothing is left over from the request before."""
    first = run(worker, TEXT=ENGLISH)
    run(worker, TEXT=ROMANIAN)
    assert first == run(worker, TEXT=ENGLISH)


@pytest.mark.parametrize(
    ("worker", "module", "shown"),
    [
        (KeywordsWorker, "tokenizers", "keywords needs tokenizers"),
        (KeywordsWorker, "stopwordsiso", "keywords needs stopwordsiso"),
        (SummarizationWorker, "snowballstemmer", "summarization needs snowballstemmer"),
        (EntityFishingWorker, "tokenizers", "entity_fishing needs tokenizers"),
        (LangidWorker, "py3langid.langid", "langid needs py3langid"),
        (FileTypeWorker, "onnxruntime", "file_type needs onnxruntime"),
    ],
)
def test_missing_package_is_named_with_what_to_install(
    worker: type[FlaskWorker], module: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load error has the package and the line to type."""
    monkeypatch.setitem(sys.modules, module, None)
    hint = shown + r': pip install "basic_inference_server\[models\]"'
    with pytest.raises((ImportError, EndpointLoadError), match=hint):
        run_worker(worker, {"TEXT": "x"})


@pytest.mark.parametrize(
    ("worker", "package"), [(KeywordsWorker, "wordllama"), (FileTypeWorker, "magika")]
)
def test_missing_data_package_is_named_with_what_to_install(
    worker: type[FlaskWorker], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is only read, never imported, is missed just so."""
    module = sys.modules[worker.__module__ if package == "magika" else "endpoints._text_embedding"]
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises((ImportError, EndpointLoadError), match=f"needs {package}: pip install"):
        run_worker(worker, {"TEXT": "x"})
