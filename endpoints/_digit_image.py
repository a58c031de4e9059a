"""Makes the 8 by 8 pixels that the model of `digits` knows of an image file."""

from __future__ import annotations

from statistics import median_low
from typing import Any

from basic_inference_server import Binary

SIDE = 8
BITMAP_SIDE = 32
BRIGHTEST = 16
MAX_SIDE = 4_096
FAINTEST_INK = 0.1


def pixels_of(file: Binary) -> list[float]:
    """Return 64 numbers from 0 (paper) to 16 (ink), row by row.

    As in the data that the model has learned from (Alpaydin and Kaynak, 1998): the digit is scaled
    to the height of 32 by 32 pixels, and the ink in each square of 4 by 4 is summed. Dark on light
    and light on dark are both read; what is seen through is paper.

    Raises:
        ValueError: it is no image, too large, or there is nothing on it.
    """
    from PIL import Image

    image = file.to_image()
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"the image is larger than {MAX_SIDE} by {MAX_SIDE} pixels")
    ink = _ink(image)
    strongest = ink.getextrema()[1]
    box = ink.point(lambda value: 255 * (value > FAINTEST_INK * strongest)).getbbox()
    if box is None or strongest < FAINTEST_INK * 255:
        raise ValueError("the image is blank")
    digit = ink.crop(box).point(lambda value: value * 255 // strongest)
    width = max(1, min(BITMAP_SIDE, round(digit.width * BITMAP_SIDE / digit.height)))
    bitmap = Image.new("L", (BITMAP_SIDE, BITMAP_SIDE))
    bitmap.paste(digit.resize((width, BITMAP_SIDE)), ((BITMAP_SIDE - width) // 2, 0))
    small = bitmap.reduce(BITMAP_SIDE // SIDE)
    return [round(value * BRIGHTEST / 255, 2) for value in small.tobytes()]


def _ink(image: Any) -> Any:
    """Return how much ink is where, from 0 to 255: how far it is from the border's grey."""
    from PIL import Image

    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    grey = image.convert("L")
    width, height = grey.size
    border = [grey.getpixel((x, y)) for x in range(width) for y in (0, height - 1)]
    border += [grey.getpixel((x, y)) for y in range(height) for x in (0, width - 1)]
    paper = median_low(border)
    return grey.point(lambda value: abs(value - paper))
