"""Names with Wikidata identifiers, and where a text has them."""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# A letter with a mark that was typed apart is one letter.
PIECE = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+|&")
GAP = re.compile(r"[ .'\u2019/-]{0,2}")  # what may stand between two pieces of a name
CEDILLA_TO_COMMA = str.maketrans("şŞţŢ", "șȘțȚ")


@dataclass(frozen=True)
class Entity:
    """Something with an identifier: one line of the file."""

    identifier: str
    kind: str
    weight: int
    label: str
    description: str


@dataclass(frozen=True)
class Mention:
    """A place in the text that has the name of one or several entities."""

    start: int
    end: int
    candidates: tuple[Entity, ...]


def pieces_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, letter by letter as it is written."""
    text = unicodedata.normalize("NFC", name).translate(CEDILLA_TO_COMMA)
    return tuple(PIECE.findall(text))


class Gazetteer:
    """Every known name, found by its words.

    Raises:
        OSError, ValueError: the file cannot be read or is not of its format.
    """

    def __init__(self, path: Path) -> None:
        self._by_pieces: dict[tuple[str, ...], list[Entity]] = defaultdict(list)
        self.entity_count = 0
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                self._add(line.rstrip("\n"))
        self._longest = max(map(len, self._by_pieces), default=0)

    def _add(self, line: str) -> None:
        identifier, kind, weight, label, others, description = line.split("\t")
        entity = Entity(identifier, kind, int(weight), label, description)
        self.entity_count += 1
        for name in [label, *filter(None, others.split("|"))]:
            pieces = pieces_of(name)
            if pieces and entity not in self._by_pieces[pieces]:
                self._by_pieces[pieces].append(entity)

    def mentions_in(self, text: str) -> list[Mention]:
        """Return the names in a text, the longest one where several begin."""
        found = list(PIECE.finditer(text))
        words = [pieces_of(piece[0]) for piece in found]
        mentions, place = [], 0
        while place < len(found):
            length, candidates = self._longest_at(text, found, words, place)
            if candidates:
                start, end = found[place].start(), found[place + length - 1].end()
                mentions.append(Mention(start, end, tuple(candidates)))
            place += max(1, length)
        return mentions

    def _longest_at(
        self,
        text: str,
        found: list[re.Match[str]],
        words: list[tuple[str, ...]],
        place: int,
    ) -> tuple[int, list[Entity]]:
        reach = 1
        while (
            reach < self._longest
            and place + reach < len(found)
            and GAP.fullmatch(text, found[place + reach - 1].end(), found[place + reach].start())
        ):
            reach += 1
        for length in range(reach, 0, -1):
            key = tuple(piece for word in words[place : place + length] for piece in word)
            if key in self._by_pieces:
                return length, self._by_pieces[key]
        return 0, []
