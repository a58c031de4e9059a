"""Unit tests of the names of entity_fishing: how they are built and how they are found."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from endpoints._gazetteer import Gazetteer
from endpoints.entity_fishing import DATA_FOLDER
from scripts.build_gazetteer import (
    HAND_MADE,
    Entity,
    as_lines,
    is_latin_name,
    kind_of,
    merged,
    other_names,
    romanian_forms,
)

LINES = [
    Entity("Q1", "LOC", 5, "New York", ["NYC"], "city in the United States"),
    Entity("Q2", "LOC", 5, "York", [], "city in England"),
    Entity("Q3", "ORG", 9, "York", [], "maker of machines"),
    Entity("Q4", "ORG", 5, "AT&T", [], "company"),
    Entity("Q5", "LOC", 5, "București", [], "capital of Romania"),
]


@pytest.fixture
def names(tmp_path: Path) -> Gazetteer:
    (tmp_path / "names.tsv.gz").write_bytes(gzip.compress(as_lines(LINES)))
    return Gazetteer(tmp_path / "names.tsv.gz")


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("In New York City", [("New York", ["Q1"])]),
        ("York, then NYC.", [("York", ["Q2", "Q3"]), ("NYC", ["Q1"])]),
        ("New, York", [("York", ["Q2", "Q3"])]),
        ("New-York's", [("New-York", ["Q1"])]),
        ("york new York1", []),
        ("call AT&T now", [("AT&T", ["Q4"])]),
        ("la Bucureşti", [("Bucureşti", ["Q5"])]),
        ("la Bucures\u0326ti", [("Bucures\u0326ti", ["Q5"])]),
        ("😀 York\x00 مرحبا", [("York", ["Q2", "Q3"])]),
        ("", []),
    ],
)
def test_names_are_found_where_they_stand(
    names: Gazetteer, text: str, mentions: list[tuple[str, list[str]]]
) -> None:
    """The longest name wins, as it is written; marks and old letters do not matter."""
    found = names.mentions_in(text)
    assert mentions == [
        (text[m.start : m.end], [entity.identifier for entity in m.candidates]) for m in found
    ]


def test_shipped_file_has_what_the_script_writes_by_hand() -> None:
    """Every hand-made entity is in the file, and every line can be read."""
    content = gzip.decompress((DATA_FOLDER / "gazetteer.tsv.gz").read_bytes())
    assert set(as_lines(HAND_MADE).splitlines()) <= set(content.splitlines())
    assert len(content.splitlines()) == Gazetteer(DATA_FOLDER / "gazetteer.tsv.gz").entity_count
    identifiers = [line.split(b"\t")[0] for line in content.splitlines()]
    assert len(identifiers) == len(set(identifiers))


def test_an_earlier_source_wins() -> None:
    """Each identifier has one line, and the lines are in the order of identifiers."""
    other = Entity("Q1", "ORG", 1, "Other", [], "other")
    assert [LINES[0], LINES[1]] == merged([LINES[1], LINES[0]], [other])


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("city in Germany", "LOC"),
        ("capital and largest city of Poland", "LOC"),
        ("German city", "LOC"),
        ("bank in the city of London", "ORG"),
        ("American technology company", "ORG"),
    ],
)
def test_kind_follows_from_the_description(description: str, kind: str) -> None:
    """Places are told from the institutions in them."""
    assert kind == kind_of(description)


def test_other_names_are_frequent_and_without_legal_form() -> None:
    """Branches that few entries have, and names of two letters, are left out."""
    names = Counter({"Ford": 20, "Ford Kundendienst": 2, "FM": 15})
    assert ["Ford Motor", "Ford"] == other_names("Ford Motor Company", names)


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("România", ["România", "României"]),
        ("Egipt", ["Egipt", "Egiptul", "Egiptului"]),
        ("Statele Unite ale Americii", ["Statele Unite ale Americii"]),
        ("Chile", ["Chile"]),
    ],
)
def test_romanian_countries_have_a_possessive(name: str, forms: list[str]) -> None:
    """Names of one word get the forms that texts use most."""
    assert forms == romanian_forms(name)


def test_names_in_other_letters_are_left_out() -> None:
    """An English or Romanian text has names in Latin letters, with a capital or a digit."""
    assert [True, True, False, False, False] == [
        is_latin_name(name) for name in ("Banca Română", "7-Eleven", "Лукойл", "ikea", "A")
    ]
