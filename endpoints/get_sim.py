"""Similar words: nearest neighbours of a word among word vectors, by cosine.

The shipped vectors are read and searched with numpy alone. gensim gives the same words with
scores equal to seven digits, but importing it takes 1 s and 87 MB in every worker (a loaded
worker: 125 MB against 33 MB, 1.0 s against 0.04 s). So gensim reads what only it can read, the
word2vec formats of a vectors file of your own, and is not imported otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from basic_inference_server import FlaskWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "TOPN": 5,
    "VECTORS": "glove20k_i8.npz",
    "VALIDATION_RULES": {
        "TOPN": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100},
        "VECTORS": {"TYPE": "str", "MIN_LEN": 1},
    },
}

__WORKER_VER__ = "1.0.0"

DATA_FOLDER = Path(__file__).parent / "data"
MAX_TOPN = 100
MAX_WORD_CHARS = 100


def word_of(inputs: dict[str, Any]) -> str:
    """Return the request's `WORD` without surrounding blanks.

    Raises:
        TypeError: it is not a text.
        ValueError: there is none, or it has not 1 to `MAX_WORD_CHARS` characters.
    """
    if "WORD" not in inputs:
        raise ValueError("WORD should be defined in inputs")
    word = inputs["WORD"]
    if not isinstance(word, str):
        raise TypeError(f"WORD should be a text, not {type(word).__name__}")
    word = word.strip()
    if not 1 <= len(word) <= MAX_WORD_CHARS:
        raise ValueError(f"WORD should have 1 to {MAX_WORD_CHARS} characters, not {len(word)}")
    return word


def topn_of(inputs: dict[str, Any], default: int) -> int:
    """Return how many similar words the request wants; a query string brings it as text.

    Raises:
        ValueError: it is not a whole number from 1 to `MAX_TOPN`.
    """
    value = inputs.get("TOPN", default)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        value, is_number = int(value), True
    if not is_number or not 1 <= value <= MAX_TOPN:
        raise ValueError(f"TOPN should be a whole number from 1 to {MAX_TOPN}, not {value!r:.50}")
    return int(value)


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

    def known_form(self, word: str) -> str:
        """Return `word` as the vocabulary spells it: as given, or else in lower case.

        Raises:
            ValueError: the vocabulary has neither.
        """
        for form in (word, word.lower()):
            if form in self.row_of:
                return form
        raise ValueError(f"WORD {word!r} is not among the {len(self.words)} words of the model")

    def nearest(self, word: str, count: int) -> list[tuple[str, float]]:
        """Return the `count` most similar other words, best first, with their cosines."""
        own_row = self.row_of[word]
        cosines = self.rows @ self.rows[own_row]
        cosines[own_row] = -2.0  # below every cosine: a word is not its own neighbour
        count = min(count, len(self.words) - 1)
        best = cosines.argpartition(len(cosines) - count)[len(cosines) - count :]
        ordered = sorted(best.tolist(), key=lambda row: (-cosines[row], row))
        return [(self.words[row], float(cosines[row])) for row in ordered]


def read_vectors(path: Path) -> WordVectors:
    """Read our own `.npz` (see `scripts/build_glove_vectors.py`) or a word2vec file.

    Raises:
        ImportError: a word2vec file needs gensim, which is not installed.
        OSError, ValueError, KeyError: the file cannot be read or is not of its format.
    """
    return _read_npz(path) if path.suffix == ".npz" else _read_word2vec(path)


def _read_npz(path: Path) -> WordVectors:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        words = str(archive["words"]).split("\n")
        return WordVectors(words, archive["vec"].astype(np.float32))


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


class GetSimWorker(FlaskWorker):
    """Answers the `TOPN` words most similar to `WORD` as a list of `word` and `score`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[GSIM]", **kwargs)

    def _load_model(self) -> None:
        path = DATA_FOLDER / self.cfg_vectors  # an absolute VECTORS stands for itself
        self.vectors = read_vectors(path)
        self.P(f"{len(self.vectors.words)} word vectors from {path.name}")

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[str, int]:
        return self.vectors.known_form(word_of(inputs)), topn_of(inputs, self.cfg_topn)

    def _predict(self, prep_inputs: tuple[str, int]) -> list[tuple[str, float]]:
        word, count = prep_inputs
        return self.vectors.nearest(word, count)

    def _post_process(self, pred: list[tuple[str, float]]) -> list[dict[str, Any]]:
        return [{"word": word, "score": round(score, 4)} for word, score in pred]
