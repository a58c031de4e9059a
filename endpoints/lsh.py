"""Near-duplicate texts by MinHash and locality-sensitive hashing.

Two texts are near-duplicates when they share most of their shingles (runs of `SHINGLE` words). A
signature of 128 numbers estimates that share; cut into bands, equal bands find the candidates
without comparing every pair.

The signatures are those of the package datasketch 2 with seed 1 (tests compare them), so they can
be stored and compared elsewhere. numpy alone computes them here: importing datasketch takes 0.4 s
and 97 MB in every worker, because it brings scipy.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from basic_inference_server import FlaskWorker
from endpoints._text_inputs import share_of, text_list_of, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "SHINGLE": 3,
    "THRESHOLD": 0.4,
    "MAX_CHARS": 100_000,
    "MAX_TEXTS": 200,
    "VALIDATION_RULES": {
        "SHINGLE": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 10},
        "THRESHOLD": {"TYPE": "number", "MIN_VAL": 0, "MAX_VAL": 1},
        "MAX_CHARS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 1_000_000},
        "MAX_TEXTS": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 2_000},
    },
}

__WORKER_VER__ = "1.0.0"

SIGNATURE_LENGTH = 128
SEED = 1
LARGEST_HASH = (1 << 32) - 1
# 42 bands of 3 find a pair that shares half of its shingles in 996 of 1,000 cases, a third in
# 795, a tenth in 41.
BANDS, ROWS = 42, 3
PIECE = 8192  # shingles hashed at once: bounds the memory to 4 MB
WORDS = re.compile(r"\w+")


class Prepared(NamedTuple):
    """A checked request; `compare` says whether a list of texts was given."""

    texts: list[str]
    threshold: float
    compare: bool
    has_query: bool


class MinHasher:
    """Computes signatures: for each of 128 permutations the smallest hash of any shingle."""

    def __init__(self, shingle: int) -> None:
        import numpy as np

        generator = np.random.RandomState(SEED)
        drawn = generator.randint(0, 1 << 31, SIGNATURE_LENGTH, dtype=np.uint32)
        # Odd factors: then no two hashes become equal by a permutation (modulo 2 to the 32).
        self.factors = drawn * np.uint32(2) + np.uint32(1)
        self.offsets = generator.randint(0, 1 << 32, SIGNATURE_LENGTH, dtype=np.uint32)
        self.shingle = shingle

    def shingles(self, text: str) -> set[str]:
        """Return the runs of words of a text; a shorter text is one run."""
        words = WORDS.findall(text.lower())
        last = max(1, len(words) - self.shingle + 1)
        return {" ".join(words[at : at + self.shingle]) for at in range(last)}

    def signature(self, text: str) -> NDArray[np.uint32]:
        """Return the signature of a text; equal positions of two tell the share they have."""
        import numpy as np

        hashes = np.array(
            [
                int.from_bytes(
                    hashlib.sha1(shingle.encode(), usedforsecurity=False).digest()[:4], "little"
                )
                for shingle in self.shingles(text)
            ],
            dtype=np.uint32,
        )
        smallest = np.full(SIGNATURE_LENGTH, LARGEST_HASH, dtype=np.uint32)
        for start in range(0, len(hashes), PIECE):
            piece = mixed(hashes[start : start + PIECE, None])
            smallest = np.minimum(smallest, (piece * self.factors + self.offsets).min(axis=0))
        return smallest


def mixed(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the hashes with their bits spread: the last step of MurmurHash3."""
    spread: Any = hashes ^ (hashes >> 16)
    spread = spread * hashes.dtype.type(0x85EBCA6B)
    spread = spread ^ (spread >> 13)
    spread = spread * hashes.dtype.type(0xC2B2AE35)
    spread_well: NDArray[np.uint32] = spread ^ (spread >> 16)
    return spread_well


def bands_of(signature: NDArray[np.uint32]) -> list[str]:
    """Return the texts' keys for a table of one's own: two texts with one in common are alike."""
    numbers = signature.tolist()
    return [
        f"{band}:" + "".join(f"{n:08x}" for n in numbers[band * ROWS : (band + 1) * ROWS])
        for band in range(BANDS)
    ]


def candidate_pairs(signatures: list[NDArray[np.uint32]]) -> list[tuple[int, int]]:
    """Return the pairs of texts that have a band in common, in order."""
    same_band: dict[str, list[int]] = defaultdict(list)
    for number, signature in enumerate(signatures):
        for band in bands_of(signature):
            same_band[band].append(number)
    return sorted(
        {
            (one, other)
            for numbers in same_band.values()
            for place, one in enumerate(numbers)
            for other in numbers[place + 1 :]
        }
    )


def groups_of(pairs: list[tuple[int, int, float]]) -> list[list[int]]:
    """Return the texts that are connected through pairs, each group in order."""
    group_of: dict[int, list[int]] = {}
    for one, other, _ in pairs:
        mine, theirs = group_of.get(one, [one]), group_of.get(other, [other])
        if mine is theirs:
            continue
        together = mine + theirs
        for number in together:
            group_of[number] = together
    different = {id(group): sorted(group) for group in group_of.values()}
    return sorted(different.values())


class LshWorker(FlaskWorker):
    """Answers the signature of `TEXT`, the near-duplicates among `TEXTS`, or both together."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[LSH]", **kwargs)

    def _load_model(self) -> None:
        self.hasher = MinHasher(self.cfg_shingle)

    def _pre_process(self, inputs: dict[str, Any]) -> Prepared:
        has_query, compare = "TEXT" in inputs, "TEXTS" in inputs
        if not has_query and not compare:
            raise ValueError("give TEXT, a text, or TEXTS, a list of texts, or both")
        texts = [text_of(inputs, self.cfg_max_chars)] if has_query else []
        if compare:
            texts += text_list_of(inputs, self.cfg_max_texts, self.cfg_max_chars)
        total = sum(map(len, texts))
        if total > 20 * self.cfg_max_chars:
            limit = 20 * self.cfg_max_chars
            raise ValueError(f"TEXTS has {total} characters in all; at most {limit} are taken")
        threshold = share_of(inputs, "THRESHOLD", self.cfg_threshold)
        return Prepared(texts, threshold, compare, has_query)

    def _predict(self, prep_inputs: Prepared) -> dict[str, Any]:
        texts, threshold, compare, has_query = prep_inputs
        signatures = [self.hasher.signature(text) for text in texts]
        if not compare:
            return {"signature": signatures[0].tolist(), "bands": bands_of(signatures[0])}
        pairs = [
            (one, other, float((signatures[one] == signatures[other]).mean()))
            for one, other in candidate_pairs(signatures)
            if one == 0 or not has_query
        ]
        alike = [pair for pair in pairs if pair[2] >= threshold]
        if has_query:
            alike.sort(key=lambda pair: (-pair[2], pair[1]))
            return {"matches": [{"index": n - 1, "similarity": round(s, 4)} for _, n, s in alike]}
        return {
            "pairs": [{"a": a, "b": b, "similarity": round(s, 4)} for a, b, s in alike],
            "groups": groups_of(alike),
        }
