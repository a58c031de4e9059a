"""Handwritten digits of 8 by 8 pixels: logistic regression, as an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basic_inference_server import Binary, FlaskWorker
from endpoints._digit_image import pixels_of
from endpoints._onnx_session import open_session
from endpoints._word_vectors import DATA_FOLDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CONFIG: dict[str, Any] = {
    "IDEMPOTENT": True,
    "MAX_IMAGES": 1_000,
    "VALIDATION_RULES": {"MAX_IMAGES": {"TYPE": "int", "MIN_VAL": 1, "MAX_VAL": 100_000}},
}

__WORKER_VER__ = "1.0.0"

SIDE = 8
PIXEL_COUNT = SIDE * SIDE
BRIGHTEST = 16

Image = list[float]


def pixel_of(value: Any, name: str) -> float:
    """Return one pixel.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not from 0 to 16.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} should hold numbers, not {type(value).__name__}")
    if not 0 <= value <= BRIGHTEST:  # NaN is not either
        raise ValueError(f"{name} should hold numbers from 0 to {BRIGHTEST}, not {value!r:.30}")
    return float(value)


def image_of(value: Any, name: str) -> Image:
    """Return the 64 pixels of an image, given as one list or as 8 rows of 8.

    Raises:
        TypeError: it is not a list of numbers.
        ValueError: it has another shape, or a pixel is out of range.
    """
    if not isinstance(value, list):
        raise TypeError(f"{name} should be a list of {PIXEL_COUNT} numbers")
    pixels = value
    if len(value) == SIDE and all(isinstance(row, list) and len(row) == SIDE for row in value):
        pixels = [pixel for row in value for pixel in row]
    if len(pixels) != PIXEL_COUNT:
        raise ValueError(
            f"{name} should hold {PIXEL_COUNT} numbers, or {SIDE} rows of {SIDE}; "
            f"it holds {len(pixels)}"
        )
    return [pixel_of(pixel, name) for pixel in pixels]


def images_of(inputs: dict[str, Any], most: int) -> list[Image]:
    """Return the request's one image, `PIXELS` or an image file, or all of its `IMAGES`.

    Raises:
        TypeError: one is not a list of numbers.
        ValueError: none or several are given, there are too many, or one is no image.
    """
    given = [name for name in ("BODY", "PIXELS", "IMAGES") if name in inputs]
    if len(given) != 1:
        raise ValueError(
            "give either PIXELS, an image, or IMAGES, a list of images, or send an image file"
        )
    images = inputs[given[0]]
    if isinstance(images, Binary):
        return [pixels_of(images)]
    if "BODY" in inputs:
        raise TypeError("BODY is an image file that is sent as the body of the request")
    if "PIXELS" in inputs:
        return [image_of(images, "PIXELS")]
    if not isinstance(images, list):
        raise TypeError(f"IMAGES should be a list of images, not {type(images).__name__}")
    if len(images) > most:
        raise ValueError(f"IMAGES holds {len(images)} images; at most {most} are taken")
    return [image_of(image, f"IMAGES[{number}]") for number, image in enumerate(images)]


class DigitsWorker(FlaskWorker):
    """Answers which digit an image file or `PIXELS` shows, or a list of these for `IMAGES`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[DIGT]", **kwargs)

    def _load_model(self) -> None:
        self.session = open_session(DATA_FOLDER / "digits.onnx", "digits")

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[list[Image], bool]:
        return images_of(inputs, self.cfg_max_images), "IMAGES" not in inputs

    def _predict(self, prep_inputs: tuple[list[Image], bool]) -> tuple[list[dict[str, Any]], bool]:
        return self._predict_batch([prep_inputs])[0]

    def _predict_batch(
        self, batch: list[tuple[list[Image], bool]]
    ) -> list[tuple[list[dict[str, Any]], bool]]:
        answers = iter(self._classify([image for images, _ in batch for image in images]))
        return [([next(answers) for _ in images], is_single) for images, is_single in batch]

    def _classify(self, images: list[Image]) -> list[dict[str, Any]]:
        import numpy as np

        # onnxruntime multiplies a single row by another method, which rounds differently. With a
        # blank image behind it one image gets, to the last bit, what it gets among many.
        pixels: NDArray[np.float32] = np.zeros((max(2, len(images)), PIXEL_COUNT), dtype="f4")
        if images:
            pixels[: len(images)] = images
        labels, probabilities = self.session.run(None, {"X": pixels})
        return [
            {
                "digit": label,
                "prob": round(row[label], 4),
                "probs": [round(prob, 4) for prob in row],
            }
            for label, row in zip(
                labels[: len(images)].tolist(), probabilities.tolist(), strict=False
            )
        ]

    def _post_process(
        self, pred: tuple[list[dict[str, Any]], bool]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        answers, is_single = pred
        return answers[0] if is_single else answers
