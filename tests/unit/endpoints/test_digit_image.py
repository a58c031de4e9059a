"""Unit tests of endpoints/_digit_image.py: image files become the pixels that the model knows."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from basic_inference_server import Binary
from endpoints._digit_image import MAX_SIDE, SIDE, pixels_of

RING = [(x, y) for x in range(8) for y in range(8) if x in {1, 6} or y in {0, 7}]


def drawn(paper: Any, ink: Any, mode: str = "L", scale: int = 10, kind: str = "PNG") -> Binary:
    """Return a page with a ring on it."""
    image = Image.new(mode, (8, 8), paper)
    for x, y in RING:
        image.putpixel((x, y), ink)
    page = Image.new(mode, (14 * scale, 12 * scale), paper)
    page.paste(image.resize((8 * scale, 8 * scale), Image.Resampling.NEAREST), (3 * scale, scale))
    return Binary.of_image(page, kind)


def test_digit_fills_the_height_and_is_centred() -> None:
    """Where it stood on the page does not matter, nor how large it was."""
    image = Image.new("L", (100, 60), 255)
    image.paste(0, (70, 5, 80, 45))
    bar = pixels_of(Binary.of_image(image))
    rows = [bar[start : start + SIDE] for start in range(0, SIDE * SIDE, SIDE)]
    assert [[0.0, 0.0, 0.0, 16.0, 16.0, 0.0, 0.0, 0.0]] * SIDE == rows


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(drawn(0, 255), id="light on dark"),
        pytest.param(drawn((255, 255, 255), (0, 0, 0), "RGB"), id="colours"),
        pytest.param(drawn((0, 0, 0, 0), (0, 0, 0, 255), "RGBA"), id="black on nothing"),
        pytest.param(drawn(255, 0, scale=20), id="larger"),
        pytest.param(drawn(255, 0, kind="BMP"), id="BMP"),
        pytest.param(drawn(200, 100), id="grey on grey"),
    ],
)
def test_same_digit_has_the_same_pixels(file: Binary) -> None:
    """However it was drawn."""
    assert pixels_of(drawn(255, 0)) == pytest.approx(pixels_of(file), abs=0.5)


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        pytest.param(Binary(b""), "this is not an image", id="nothing"),
        pytest.param(Binary(b"\x89PNG\r\n\x1a\n" + bytes(50)), "this is not an image", id="broken"),
        pytest.param(Binary(bytes(drawn(255, 0))[:-40]), "this is not an image", id="cut off"),
        pytest.param(Binary.of_image(Image.new("L", (9, 9), 7)), "the image is blank", id="blank"),
        pytest.param(
            Binary.of_image(Image.new("L", (MAX_SIDE + 1, 1))), "larger than 4096", id="too wide"
        ),
    ],
)
def test_what_is_no_digit_is_refused(file: Binary, complaint: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=complaint):
        pixels_of(file)
