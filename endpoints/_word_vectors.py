"""A table of word vectors: reading it, and the search for the nearest words.

Knows no languages and no requests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

DATA_FOLDER = Path(__file__).resolve().parent / "data"
SHIPPED_VECTORS = "glove20k_i8.npz"
# The matrix product that finds candidates rounds differently for one word and for many at once;
# with this many to spare the exact scores alone decide which words are answered.
SPARE_CANDIDATES = 8


class WordVectors:
    """Unit-length rows, one for each word, so that a product of rows is a cosine."""

    def __init__(self, words: list[str], rows: NDArray[np.float32]) -> None:
        if len(words) != len(rows):
            raise ValueError(f"{len(words)} words, but {len(rows)} vectors")
        lengths = (rows * rows).sum(axis=1, keepdims=True) ** 0.5
        lengths[lengths == 0] = 1.0  # a word without a vector is similar to nothing, not NaN
        self.words = words
        self.rows = rows / lengths
        self.row_of = {word: row for row, word in enumerate(words)}

    def known_form(self, word: str) -> str | None:
        """Return `word` as the vocabulary spells it: as given, or else in lower case."""
        return next((form for form in (word, word.lower()) if form in self.row_of), None)

    def nearest(self, word: str, count: int) -> list[tuple[str, float]]:
        """Return the `count` most similar other words, best first, with their cosines."""
        return self.nearest_many([(word, count)])[0]

    def nearest_many(self, queries: Sequence[tuple[str, int]]) -> list[list[tuple[str, float]]]:
        """Return for each word and count what `nearest` returns, in one pass over the table."""
        own_rows = [self.row_of[word] for word, _ in queries]
        cosines = self.rows[own_rows] @ self.rows.T
        return [
            self._best(of_one, own_row, count)
            for of_one, own_row, (_, count) in zip(cosines, own_rows, queries, strict=True)
        ]

    def _best(
        self, cosines: NDArray[np.float32], own_row: int, count: int
    ) -> list[tuple[str, float]]:
        others = len(self.words) - 1
        if not others:
            return []
        cosines[own_row] = -2.0  # below every cosine: a word is not its own neighbour
        first = len(cosines) - min(count + SPARE_CANDIDATES, others)
        rows = sorted(cosines.argpartition(first)[first:].tolist())
        exact = self.rows[rows].astype("f8") @ self.rows[own_row].astype("f8")
        best = sorted(zip(rows, exact.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
        return [(self.words[row], cosine) for row, cosine in best[:count]]


def read_vectors(path: Path) -> WordVectors:
    """Read our own `.npz` (see `scripts/build_glove_vectors.py`) or a word2vec file.

    Raises:
        ImportError: a word2vec file needs gensim, which is not installed.
        OSError, ValueError, KeyError: the file cannot be read or is not of its format.
    """
    return WordVectors(*read_npz(path)) if path.suffix == ".npz" else _read_word2vec(path)


def read_words(path: Path) -> list[str]:
    """Return the words alone of our own `.npz`, the most frequent first."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return str(archive["words"]).split("\n")


def read_npz(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return the words and their whole-numbered components, as the `.npz` has them."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return str(archive["words"]).split("\n"), archive["vec"].astype(np.float32)


def _read_word2vec(path: Path) -> WordVectors:
    """Read text (`.txt`, `.vec`, `.gz` of these) or binary (`.bin`): formats without pickles."""
    try:
        from gensim.models.keyedvectors import KeyedVectors
    except ModuleNotFoundError as error:
        raise ImportError(
            'get_sim needs gensim: pip install "basic_inference_server[models]"'
        ) from error
    keyed = KeyedVectors.load_word2vec_format(str(path), binary=path.suffix == ".bin")
    return WordVectors(list(keyed.index_to_key), keyed.vectors)
