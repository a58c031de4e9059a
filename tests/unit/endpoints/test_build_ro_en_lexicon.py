"""Unit tests of scripts/build_ro_en_lexicon.py: what is read, taken and left out."""

from __future__ import annotations

import pytest

from scripts.build_ro_en_lexicon import known_part, parse, single_word_pairs


def test_parse_reads_words_with_their_translations() -> None:
    """Comments and blank lines are passed over; spelling is made plain; doubles are joined."""
    lines = ["# sea", "", "Mare=sea/big, ţară=country", "mare=great/sea,"]
    assert {"mare": ["sea", "big", "great"], "țară": ["country"]} == parse(lines)


@pytest.mark.parametrize("entry", ["mare", "=sea", "mare=", "mare=sea/", "marea neagră=sea"])
def test_parse_names_a_wrong_entry(entry: str) -> None:
    """An entry of another form stops the build."""
    with pytest.raises(ValueError, match="is not word=translation"):
        parse([f"cal=horse, {entry}"])


def test_single_word_pairs_leaves_out_phrases_and_equals() -> None:
    """Names of several words, missing ones, and those that are spelled alike are not taken."""
    romanian = {"DE": "Germania", "US": "Statele Unite", "FJ": "Fiji", "XX": "Undeva"}
    english = {"DE": "Germany", "US": "United States", "FJ": "Fiji"}
    assert [["germania", "germany"]] == list(single_word_pairs(romanian, english))


def test_known_part_keeps_what_has_a_vector() -> None:
    """Translations without a vector go, and words that have no other."""
    kept, left_out = known_part({"brad": ["fir", "pine"], "arici": ["hedgehog"]}, {"pine"})
    assert {"brad": ["pine"]} == kept
    assert ["brad=fir", "arici=hedgehog"] == left_out
