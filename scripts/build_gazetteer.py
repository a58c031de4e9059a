"""Rebuilds endpoints/data/gazetteer.tsv.gz, the names that the endpoint entity_fishing knows.

The sources are two npm packages that carry Wikidata identifiers, and the Romanian names of
countries in the Python package babel. In an empty folder, with babel installed:

    npm pack @rapideditor/country-coder@5.6.1 name-suggestion-index@8.0.20260918
    mkdir countries names
    tar xzf rapideditor-country-coder-5.6.1.tgz -C countries
    tar xzf name-suggestion-index-8.0.20260918.tgz -C names
    python scripts/build_gazetteer.py countries/package names/package gazetteer.tsv.gz

Steps:
1. Countries and territories that have an ISO 3166 code, from country-coder; their Romanian names
   from CLDR, by way of babel.
2. The organisations and places of name-suggestion-index that are not dissolved and have an English
   label and description: the 8,000 that have the most web sites and entries there.
3. The names in HAND_MADE: people, cities and rivers, which neither package has, with identifiers
   that were written by hand.
4. One line for each: identifier, type, weight, label, other names, description.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ORGANISATIONS = 8_000
MAX_DESCRIPTION = 100
MAX_OTHER_NAMES = 3
COUNTRY_WEIGHT = 200
# Countries that are written without their full name.
COUNTRY_NAMES = {
    "US": [
        "United States",
        "USA",
        "U.S.",
        "United States of America",
        "SUA",
        "Statele Unite",
        "Statelor Unite",
    ],
    "GB": ["United Kingdom", "UK", "Great Britain", "Britain", "Marea Britanie", "Marii Britanii"],
    "CZ": ["Czech Republic", "Republica Cehă", "Cehia", "Cehiei"],
    "AE": ["UAE"],
    "NL": ["Holland", "The Netherlands", "Olanda", "Olandei"],
    "KR": ["South Korea"],
    "CI": ["Ivory Coast"],
    "IE": ["Ireland"],
    "MD": ["Moldova", "Moldovei"],
}
LEGAL_FORM = re.compile(
    r",? (?:Inc\.?|Corporation|Corp\.?|Company|Co\.|Ltd\.?|Limited|plc|PLC|AG|SE|GmbH|S\.A\.|SA|NV|"
    r"N\.V\.|S\.p\.A\.|LLC|Group)$"
)
PLACE = re.compile(
    r"\b(?:city|town|village|municipality|capital|country|state|province|region|county|district|"
    r"canton|commune|borough|island|prefecture|territory|voivodeship)\b (?:in|of|and|on|at)\b"
    r"|^capital\b|\b(?:city|town|municipality)$",
    re.IGNORECASE,
)
NOT_A_PLACE = re.compile(
    r"\b(?:bank|company|chain|operator|brand|agency|service|system|network|authority|government|"
    r"department|university|store|retailer|library|school|police|museum|manufacturer|ministry|transit|"
    r"transport|association|body|company)s?\b",
    re.IGNORECASE,
)
# A name as Latin letters write it, with a capital or a digit in it.
LATIN_NAME = re.compile(r"(?=.*[A-Z0-9])[A-Za-z0-9À-ɏ][A-Za-z0-9À-ɏ&+.'\u2019/ -]{1,40}")


class Entity(NamedTuple):
    """One line of the gazetteer."""

    identifier: str
    kind: str
    weight: int
    label: str
    others: list[str]
    description: str


def entity_of(line: str) -> Entity:
    """Return what one line of HAND_MADE says."""
    identifier, kind, weight, label, others, description = line.split(";")
    names = [name for name in others.split("|") if name]
    return Entity(identifier, kind, int(weight), label, names, description)


HAND_MADE = [
    entity_of(line)
    for line in """\
Q90;LOC;150;Paris;Parisul;capital and largest city of France
Q84;LOC;150;London;Londra|Londrei;capital of England and the United Kingdom
Q64;LOC;150;Berlin;Berlinul;capital and largest city of Germany
Q19660;LOC;150;Bucharest;București|Bucureștiul|Bucureștiului;capital and largest city of Romania
Q220;LOC;100;Rome;Roma|Romei;capital and largest city of Italy
Q2807;LOC;100;Madrid;;capital and largest city of Spain
Q1741;LOC;100;Vienna;Viena|Vienei;capital and largest city of Austria
Q937;PER;100;Albert Einstein;Einstein;German-born theoretical physicist
Q7186;PER;100;Marie Curie;Curie;Polish-French physicist and chemist
Q935;PER;100;Isaac Newton;Newton;English mathematician and physicist
Q184935;PER;100;Mihai Eminescu;Eminescu;Romanian poet and journalist
Q692;PER;100;William Shakespeare;Shakespeare;English playwright and poet
Q254;PER;100;Wolfgang Amadeus Mozart;Mozart;Austrian composer of music
Q312;ORG;60;Apple Inc.;Apple;American technology company making phones and computers
Q89;MISC;20;apple;apples|Apples|Apple;fruit of the apple tree, eaten fresh or in pie
Q3783;LOC;50;Amazon River;Amazon|Amazonul;longest river in South America, through the rainforest
Q1653;LOC;50;Danube;Dunărea|Dunăre|Dunării;second-longest river in Europe
Q3392;LOC;50;Nile;Nil|Nilul;major river in northeastern Africa
Q111;LOC;50;Mars;Marte;fourth planet from the Sun, red planet of the Solar System
Q458;ORG;100;European Union;EU|Uniunea Europeană|Uniunii Europene;union of European states
""".splitlines()
]


def is_latin_name(name: str) -> bool:
    """Say whether a name is one that an English or Romanian text may have."""
    return LATIN_NAME.fullmatch(name) is not None


def kind_of(description: str) -> str:
    """Return `LOC` for a place, `ORG` for everything else that the packages name."""
    is_place = PLACE.search(description) and not NOT_A_PLACE.search(description)
    return "LOC" if is_place else "ORG"


def other_names(label: str, names: Counter[str]) -> list[str]:
    """Return the label without its legal form, and the most frequent other names."""
    short = LEGAL_FORM.sub("", label)
    frequent = [name for name, _ in sorted(names.items(), key=lambda item: (-item[1], item[0]))]
    # A name that few of the entries have is that of a branch, not of the whole.
    wanted = dict.fromkeys([short, *(name for name in frequent if names[name] * 4 > names.total())])
    wanted.pop(label, None)
    # Two letters are too often something else.
    return [name for name in wanted if len(name) > 2 and is_latin_name(name)][:MAX_OTHER_NAMES]


def organisations(package: Path, known: dict[str, Any]) -> list[Entity]:
    """Return what name-suggestion-index names, most widely used first."""
    dissolved = json.loads((package / "dist/wikidata/dissolved.json").read_text())["dissolved"]
    index = json.loads((package / "dist/json/nsi.json").read_text())["nsi"]
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for category in index.values():
        for item in category["items"]:
            if item["id"] in dissolved:
                continue
            tags = item["tags"]
            for key in ("brand", "operator", "network"):
                identifier = tags.get(f"{key}:wikidata")
                if identifier and tags.get(key):
                    names[identifier][tags[key]] += 1
    found = []
    for identifier, entry in known.items():
        label, description = entry.get("label", ""), entry.get("description", "")
        if not names[identifier] or len(description) < 8 or not is_latin_name(label):
            continue
        weight = len(entry.get("officialWebsites", [])) + names[identifier].total()
        others = other_names(label, names[identifier])
        description = " ".join(description.split())[:MAX_DESCRIPTION]
        found.append(Entity(identifier, kind_of(description), weight, label, others, description))
    found.sort(key=lambda entity: (-entity.weight, int(entity.identifier[1:])))
    return found[:ORGANISATIONS]


def romanian_forms(name: str) -> list[str]:
    """Return a country's Romanian name as subject and possessor: România, României."""
    if " " in name or "-" in name or not name:
        return [name]
    if name.endswith("a"):
        return [name, name[:-1] + "ei"]
    if name[-1] not in "aeiouyăâî":
        return [name, name + "ul", name + "ului"]
    return [name]


def countries(package: Path, known: dict[str, Any]) -> list[Entity]:
    """Return the countries and territories of country-coder, with Romanian names."""
    romanian = import_module("babel").Locale.parse("ro").territories
    borders = json.loads((package / "src/data/borders.json").read_text())
    every = [feature["properties"] for feature in borders["features"]]
    regions = {p["m49"]: p["nameEn"] for p in every if "m49" in p and "nameEn" in p}
    found = []
    for properties in every:
        code = properties.get("iso1A2")
        if not code or len(code) != 2 or code in {"EU", "UN"}:
            continue
        described = known.get(properties["wikidata"], {})
        region = next((regions[g] for g in properties.get("groups", []) if g in regions), "")
        description = f"country in {region}" if region else "country or territory"
        description = described.get("description", description)[:MAX_DESCRIPTION]
        label = properties["nameEn"]
        names = [
            described.get("label"),
            *romanian_forms(romanian.get(code, "")),
            *COUNTRY_NAMES.get(code, []),
        ]
        others = [name for name in dict.fromkeys(names) if name and name != label]
        found.append(
            Entity(properties["wikidata"], "LOC", COUNTRY_WEIGHT, label, others, description)
        )
    return found


def merged(*groups: list[Entity]) -> list[Entity]:
    """Return every entity once; an earlier group's line wins."""
    lines: dict[str, Entity] = {}
    for group in groups:
        for entity in group:
            lines.setdefault(entity.identifier, entity)
    return sorted(lines.values(), key=lambda entity: int(entity.identifier[1:]))


def as_lines(entities: list[Entity]) -> bytes:
    """Return the file's content."""
    return "".join(
        f"{e.identifier}\t{e.kind}\t{e.weight}\t{e.label}\t{'|'.join(e.others)}\t{e.description}\n"
        for e in entities
    ).encode()


def main() -> None:
    """Build the file and print its digest."""
    parser = argparse.ArgumentParser(description="Rebuild the names of entity_fishing.")
    parser.add_argument("countries", type=Path, help="country-coder's folder")
    parser.add_argument("names", type=Path, help="name-suggestion-index's folder")
    parser.add_argument("target", type=Path, help="the .tsv.gz file to write")
    arguments = parser.parse_args()
    described = (arguments.names / "dist/wikidata/wikidata.json").read_text(encoding="utf-8")
    known = json.loads(described)["wikidata"]
    entities = merged(
        HAND_MADE, countries(arguments.countries, known), organisations(arguments.names, known)
    )
    content = as_lines(entities)
    # No time of day in the file: the same sources give the same bytes.
    arguments.target.write_bytes(gzip.compress(content, mtime=0))
    digest = hashlib.sha256(content).hexdigest()
    sys.stdout.write(f"{arguments.target}: {len(entities)} names, sha256 of the text {digest}\n")


if __name__ == "__main__":
    main()
