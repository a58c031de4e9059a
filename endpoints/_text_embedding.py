"""Texts as vectors: the mean of WordLlama's token vectors, for English.

The package wordllama carries vectors and tokenizer; both are read here without importing it.
Its own loader turns the 16 MB of vectors into 32 MB and takes 0.5 s and 112 MB; mapping the file
takes 0.1 s and 52 MB, and workers share the mapped pages. The vectors are the same to the last
bit of a float32 (tests compare them).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
TENSOR = "embedding.weight"
# Longer texts are embedded in pieces; a piece bounds the memory of one multiplication.
PIECE_TOKENS = 4096


@contextmanager
def needed_packages(endpoint: str) -> Iterator[None]:
    """Say for a package that is missing in a `with` block who needs it, and what to install.

    Raises:
        ImportError: one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{endpoint} needs {error.name or 'wordllama'}: "
            'pip install "basic_inference_server[models]"'
        ) from error


def model_folder() -> Path:
    """Return where the package wordllama is installed; it is not imported.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("wordllama is not installed")
    return Path(spec.submodule_search_locations[0])


def map_tensor(path: Path, name: str) -> NDArray[np.float16]:
    """Return one half-precision tensor of a safetensors file, mapped into memory.

    The format: eight bytes with the length of a JSON header, the header, the tensors.

    Raises:
        ValueError, KeyError: the file has another format, or no such tensor.
    """
    import numpy as np

    with path.open("rb") as file:
        header_length = struct.unpack("<Q", file.read(8))[0]
        entry = json.loads(file.read(header_length))[name]
    if entry["dtype"] != "F16":
        raise ValueError(f"{path.name}: {name} is {entry['dtype']}, expected F16")
    begin = entry["data_offsets"][0] + 8 + header_length
    return np.memmap(path, dtype="<f2", mode="r", offset=begin, shape=tuple(entry["shape"]))


class TextEmbedder:
    """Unit-length vectors of English texts, so that a product of rows is a cosine.

    Raises:
        ModuleNotFoundError: wordllama or tokenizers is not installed.
    """

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        folder = model_folder()
        self._tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._rows = map_tensor(folder / WEIGHTS, TENSOR)
        self.dimensions = int(self._rows.shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row for each text; a text without tokens has a row of zeros.

        Each text is computed by itself, so its row does not depend on the others.
        """
        import numpy as np

        means = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            means[row] = self._mean(text)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        lengths[lengths <= 1e-9] = 1
        means /= lengths
        return means

    def _mean(self, text: str) -> Any:
        import numpy as np

        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        total = np.zeros(self.dimensions, dtype=np.float32)
        for start in range(0, len(ids), PIECE_TOKENS):
            piece = np.asarray(ids[start : start + PIECE_TOKENS])
            total += self._rows[piece].astype(np.float32).sum(axis=0)
        return total / max(1, len(ids))
