"""Unit tests of scripts/build_glove_vectors.py: the choice of words and the rounding."""

from __future__ import annotations

import numpy as np

from scripts.build_glove_vectors import most_frequent_rows, quantized


def test_most_frequent_rows_takes_plain_words_in_order() -> None:
    """Punctuation, numbers and letters beyond a to z are left out; the order is kept."""
    words = ["the", ",", "of", "1990", "u.s.", "café", "and", "to"]
    assert [0, 2, 6] == most_frequent_rows(words, 3)


def test_quantized_keeps_the_direction() -> None:
    """The largest component becomes 127, the others follow in proportion."""
    vectors = np.array([[3.0, -6.0, 0.0], [0.1, 0.2, -0.4]], dtype=np.float32)
    assert [[64, -127, 0], [32, 64, -127]] == quantized(vectors).tolist()
