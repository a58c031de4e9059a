"""Unit tests of lsh: signatures, bands, pairs and groups."""

from __future__ import annotations

import re

import pytest

from basic_inference_server.testing import run_worker
from endpoints.lsh import LshWorker, MinHasher, bands_of, candidate_pairs, groups_of

LONG = " ".join(f"word{number % 9000}" for number in range(12_000))
TEXTS = ["The gateway forwards every request to the model worker", "a", "!!!", LONG]


@pytest.mark.parametrize("text", TEXTS, ids=["sentence", "word", "no word", "long"])
def test_signature_is_the_one_of_datasketch(text: str) -> None:
    """Signatures that are stored can be compared with those of the package."""
    from datasketch import MinHash  # noqa: PLC0415 - brings scipy

    words = re.findall(r"\w+", text.lower())
    theirs = MinHash(num_perm=128, seed=1)
    theirs.update_batch(
        [" ".join(words[at : at + 3]).encode() for at in range(max(1, len(words) - 2))]
    )
    assert theirs.hashvalues.tolist() == MinHasher(3).signature(text).tolist()


def test_lsh_gives_the_acceptance_values() -> None:
    """Two near-duplicates are found with their similarity, another text is not."""
    query = TEXTS[0]
    others = [
        query + " process",
        "The gateway forwards each request to the model worker process today",
        "The weather is nice in Bucharest",
    ]
    answer = run_worker(LshWorker, {"TEXT": query, "TEXTS": others})
    assert {
        "matches": [{"index": 0, "similarity": 0.9219}, {"index": 1, "similarity": 0.4141}]
    } == answer


def test_similarity_estimates_the_shared_runs() -> None:
    """Two texts with 2 of 3 runs in common are similar by about two thirds."""
    words = [f"w{number}" for number in range(1000)]
    first, second = " ".join(words[:802]), " ".join(words[:402] + words[802:804])
    answer = run_worker(LshWorker, {"TEXTS": [first, second], "THRESHOLD": 0})
    assert pytest.approx(400 / 802, abs=0.13) == answer["pairs"][0]["similarity"]


def test_threshold_leaves_pairs_out() -> None:
    """Only pairs from the threshold on count, the request's before the configured one."""
    inputs = {"TEXTS": ["one two three four five six", "one two three four five six seven"]}
    assert [[0, 1]] == run_worker(LshWorker, inputs)["groups"]
    assert [] == run_worker(LshWorker, inputs | {"THRESHOLD": 1})["groups"]
    assert [] == run_worker(LshWorker, inputs, {"THRESHOLD": 0.95})["pairs"]


def test_one_text_has_a_signature_and_bands() -> None:
    """The 42 bands are what equal signatures have in common, each with its number."""
    answer = run_worker(LshWorker, {"TEXT": TEXTS[0]})
    assert (128, 42, 42) == (
        len(answer["signature"]),
        len(answer["bands"]),
        len(set(answer["bands"])),
    )
    assert all(isinstance(number, int) for number in answer["signature"])
    assert [f"{n:08x}" for n in answer["signature"][:3]] == re.findall(
        ".{8}", answer["bands"][0].removeprefix("0:")
    )


def test_candidates_have_a_band_in_common() -> None:
    """Pairs are found by bands and come once, in order."""
    hasher = MinHasher(3)
    signatures = [hasher.signature(text) for text in (TEXTS[0], LONG, TEXTS[0] + " process")]
    assert [(0, 2)] == candidate_pairs(signatures)
    assert set(bands_of(signatures[0])) & set(bands_of(signatures[2]))


def test_groups_are_connected_through_pairs() -> None:
    """A chain is one group, whatever the order of its pairs."""
    pairs = [(0, 1, 1.0), (4, 5, 1.0), (2, 3, 1.0), (1, 2, 1.0)]
    assert [[0, 1, 2, 3], [4, 5]] == groups_of(pairs)
    assert [] == groups_of([])


def test_neither_text_is_refused() -> None:
    """The sentence says what may be given."""
    with pytest.raises(ValueError, match="give TEXT, a text, or TEXTS, a list of texts, or both"):
        run_worker(LshWorker, {})


def test_many_long_texts_are_refused_together() -> None:
    """The limit on one text does not let a hundred of them through."""
    with pytest.raises(ValueError, match="TEXTS has 210 characters in all; at most 200 are taken"):
        run_worker(LshWorker, {"TEXTS": ["x" * 10] * 21}, {"MAX_CHARS": 10})
