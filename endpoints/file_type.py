"""What a file contains, from its bytes, by Google's model magika.

Model, thresholds and descriptions are read from the package magika, but its Python code is not
used: this way the session has one thread, and the worker imports less. Tests compare the answers
with the package's own.
"""

from __future__ import annotations

import base64
import binascii
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from basic_inference_server import Binary, FlaskWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "MAX_BYTES": 8_000_000,
    "VALIDATION_RULES": {
        "MAX_BYTES": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100_000_000},
    },
}

__WORKER_VER__ = "1.0.0"

MODEL = "models/standard_v3_3"
KNOWN_TYPES = "config/content_types_kb.min.json"


class Verdict(NamedTuple):
    """A content type, how sure the model was, and what it said where that was not enough."""

    label: str
    score: float
    guess: str


Content = bytes | memoryview


def content_of(inputs: dict[str, Any], max_bytes: int) -> Content:
    """Return the bytes of a request: its raw body, `CONTENT` or `TEXT`.

    `CONTENT` is a file of a multipart request, base64, or decoded already; `TEXT` becomes UTF-8.

    Raises:
        TypeError: what was given is no text.
        ValueError: none or several are given, it is no base64, or it is too long.
    """
    given = [name for name in ("BODY", "CONTENT", "TEXT") if name in inputs]
    if len(given) != 1:
        raise ValueError(
            "give either CONTENT, a file as base64, or TEXT, a file's text, or send the file itself"
        )
    name = given[0]
    value = inputs[name]
    content: Content
    if isinstance(value, Binary):
        content = memoryview(value.content)
    elif name == "CONTENT" and isinstance(value, bytes):  # the request named it in BASE64_KEYS
        content = value
    elif name == "BODY":
        raise TypeError("BODY is a file that is sent as the body of the request")
    elif not isinstance(value, str):
        raise TypeError(f"{name} should be a text, not {type(value).__name__}")
    elif name == "CONTENT":
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"CONTENT is not base64: {error}") from error
    else:
        content = value.encode("utf-8", "surrogatepass")
    if len(content) > max_bytes:
        raise ValueError(f"{name} has {len(content)} bytes; at most {max_bytes} are taken")
    return content


class Magika:
    """The model with what its package says about it.

    Raises:
        ModuleNotFoundError: magika or onnxruntime is not installed.
    """

    def __init__(self) -> None:
        import onnxruntime

        spec = find_spec("magika")
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError("magika is not installed", name="magika")
        folder = Path(spec.submodule_search_locations[0])
        self.config = json.loads((folder / MODEL / "config.min.json").read_text())
        self.types = json.loads((folder / KNOWN_TYPES).read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._input = self.session.get_inputs()[0].name

    def features(self, content: Content) -> NDArray[np.int32] | None:
        """Return what the model sees: the first and last bytes without surrounding blanks.

        `None` for a content that is too short for the model.
        """
        import numpy as np

        first, last = self.config["beg_size"], self.config["end_size"]
        block = self.config["block_size"]
        begin = bytes(content[:block]).lstrip()[:first]
        end = bytes(content[-block:]).rstrip()[-last:]
        if len(begin) < self.config["min_file_size_for_dl"]:
            return None
        row = np.full(first + last, self.config["padding_token"], dtype=np.int32)
        row[: len(begin)] = np.frombuffer(begin, dtype=np.uint8)
        row[first + last - len(end) :] = np.frombuffer(end, dtype=np.uint8)
        return row

    def identify(self, content: Content) -> Verdict:
        """Return what a content is.

        One at a time: the model takes several at once, but then three times as long for each, and
        with scores that differ in the fourth digit.
        """
        row = self.features(content)
        if row is None:
            return self._without_model(content)
        return self._with_scores(self.session.run(None, {self._input: row[None]})[0][0])

    def _with_scores(self, scores: NDArray[np.float32]) -> Verdict:
        best = int(scores.argmax())
        guess, score = self.config["target_labels_space"][best], float(scores[best])
        label = self.config["overwrite_map"].get(guess, guess)
        enough = self.config["thresholds"].get(guess, self.config["medium_confidence_threshold"])
        if score < enough:
            label = "txt" if self.types[label]["is_text"] else "unknown"
        return Verdict(label, score, guess)

    def _without_model(self, content: Content) -> Verdict:
        """Tell text from other bytes where there is too little to look at."""
        if not content:
            return Verdict("empty", 1.0, "undefined")
        try:
            bytes(content).decode("utf-8")
        except UnicodeDecodeError:
            return Verdict("unknown", 1.0, "undefined")
        return Verdict("txt", 1.0, "undefined")

    def describe(self, verdict: Verdict) -> dict[str, Any]:
        """Return the verdict with type, group and description."""
        known = self.types[verdict.label]
        fallback = "text/plain" if known["is_text"] else "application/octet-stream"
        return {
            "label": verdict.label,
            "score": round(verdict.score, 4),
            "mime_type": known["mime_type"] or fallback,
            "group": known["group"] or "unknown",
            "description": known["description"] or verdict.label,
            "extensions": known["extensions"],
            "is_text": known["is_text"],
            "guess": verdict.guess,
        }


class FileTypeWorker(FlaskWorker):
    """Answers what a file contains, sent as it is or as `CONTENT` or `TEXT`: label, MIME type."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[FTYP]", **kwargs)

    def _load_model(self) -> None:
        try:
            self.magika = Magika()
        except ModuleNotFoundError as error:
            raise ImportError(
                f"file_type needs {error.name or 'magika'}: "
                'pip install "basic_inference_server[models]"'
            ) from error

    def _pre_process(self, inputs: dict[str, Any]) -> Content:
        return content_of(inputs, self.cfg_max_bytes)

    def _predict(self, prep_inputs: Content) -> Verdict:
        return self.magika.identify(prep_inputs)

    def _post_process(self, pred: Verdict) -> dict[str, Any]:
        return self.magika.describe(pred)
