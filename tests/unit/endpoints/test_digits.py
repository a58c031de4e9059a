"""Unit tests of endpoints/digits.py: which images are taken."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints.digits import image_of, images_of

FLAT: list[Any] = [float(number % 17) for number in range(64)]
ROWS = [FLAT[start : start + 8] for start in range(0, 64, 8)]


@pytest.mark.parametrize("value", [FLAT, ROWS], ids=["flat", "rows"])
def test_image_of_takes_both_shapes(value: Any) -> None:
    """64 numbers and 8 rows of 8 are the same image."""
    assert FLAT == image_of(value, "PIXELS")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        pytest.param("0" * 64, "PIXELS should be a list of 64 numbers", id="text"),
        pytest.param([], "64 numbers, or 8 rows of 8; it holds 0", id="empty"),
        pytest.param(FLAT[1:], "64 numbers, or 8 rows of 8; it holds 63", id="one too few"),
        pytest.param([*ROWS[1:], [0] * 7], "it holds 8", id="a short row"),
        pytest.param([*FLAT[1:], "5"], "should hold numbers, not str", id="text among them"),
        pytest.param([*FLAT[1:], None], "should hold numbers, not NoneType", id="null"),
        pytest.param([*FLAT[1:], True], "should hold numbers, not bool", id="true"),
        pytest.param([*FLAT[1:], 17], "from 0 to 16, not 17", id="too dark"),
        pytest.param([*FLAT[1:], -0.1], "from 0 to 16, not -0.1", id="below paper"),
        pytest.param([*FLAT[1:], float("nan")], "from 0 to 16, not nan", id="NaN"),
        pytest.param([*FLAT[1:], 10**400], "from 0 to 16, not 1000", id="beyond floats"),
        pytest.param([[[0] * 8] * 8] * 64, "should hold numbers, not list", id="too deep"),
    ],
)
def test_image_of_refuses(value: Any, complaint: str) -> None:
    """Everything else is refused with what is wrong."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        image_of(value, "PIXELS")


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        pytest.param({}, "give either PIXELS, an image, or IMAGES", id="nothing"),
        pytest.param({"PIXELS": FLAT, "IMAGES": []}, "give either PIXELS", id="both"),
        pytest.param({"BODY": FLAT}, "BODY is an image file that is sent", id="no file"),
        pytest.param({"IMAGES": "x"}, "IMAGES should be a list of images, not str", id="text"),
        pytest.param({"IMAGES": [FLAT] * 3}, "holds 3 images; at most 2 are taken", id="many"),
        pytest.param({"IMAGES": [FLAT, [1]]}, r"IMAGES\[1\] should hold 64", id="a bad one"),
    ],
)
def test_images_of_refuses(inputs: dict[str, Any], complaint: str) -> None:
    """A request has one image or a bounded list of them."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        images_of(inputs, 2)
