"""Rebuilds endpoints/data/ro_en.tsv, the Romanian words of get_sim and its family.

Each line is a Romanian word, a tab, and its English translations with blanks between them. In a
virtual environment of its own:

    pip install Babel==2.18.0 numpy
    python scripts/build_ro_en_lexicon.py endpoints/data/ro_en.tsv

Two sources:
1. `scripts/lexicon/ro_en.txt`, written by hand for this project.
2. Names of countries, languages, months and days from the Unicode CLDR, which the package Babel
   carries. A name is taken when it is one word in both languages and the first source has it not.

A translation that the word vectors do not know is left out, and so is a word without any other:
the program says which. The file is sorted, so that two builds can be compared line by line.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
HAND_WRITTEN = HERE / "lexicon" / "ro_en.txt"
VECTORS = HERE.parent / "endpoints" / "data" / "glove20k_i8.npz"
# Old fonts and keyboards write these letters with a cedilla; the correct ones have a comma.
COMMA_BELOW = str.maketrans({"ş": "ș", "ţ": "ț"})
CLDR_TABLES = ("territories", "languages")

Lexicon = dict[str, list[str]]


def plain(word: str) -> str:
    """Return the one spelling of a Romanian word: lower case, composed, comma below."""
    return unicodedata.normalize("NFC", word.strip().lower()).translate(COMMA_BELOW)


def parse(lines: Iterable[str]) -> Lexicon:
    """Return the words of the hand-written source; a word that comes twice has all translations.

    Raises:
        ValueError: an entry is not `word=translation/translation`.
    """
    lexicon: Lexicon = {}
    for line in lines:
        if line.startswith("#"):
            continue
        for entry in filter(None, map(str.strip, line.split(","))):
            word, equals, translations = entry.partition("=")
            parts = [part.strip() for part in translations.split("/")]
            if not (word and equals and all(parts)) or " " in word:
                raise ValueError(f"{entry!r} is not word=translation")
            known = lexicon.setdefault(plain(word), [])
            known.extend(part for part in parts if part not in known)
    return lexicon


def single_word_pairs(romanian: dict[str, str], english: dict[str, str]) -> Iterator[list[str]]:
    """Yield the names that are one word, letters only, in both of two CLDR tables."""
    for code, name in romanian.items():
        pair = [plain(name), str(english.get(code, "")).lower()]
        # Where both are spelled alike the English vocabulary is enough, and the language Slave or
        # Fang would hide a word.
        if all(part.isalpha() for part in pair) and pair[0] != pair[1]:
            yield pair


def read_cldr() -> Lexicon:
    """Return the names that Babel has in both languages."""
    parse_locale = import_module("babel").Locale.parse  # here: tests run without Babel
    romanian, english = parse_locale("ro"), parse_locale("en")
    lexicon: Lexicon = {}
    for table in CLDR_TABLES:
        for word, name in single_word_pairs(getattr(romanian, table), getattr(english, table)):
            lexicon.setdefault(word, [name])
    for table in ("months", "days"):
        names = [
            {str(key): name for key, name in getattr(locale, table)["format"]["wide"].items()}
            for locale in (romanian, english)
        ]
        for word, name in single_word_pairs(*names):
            lexicon.setdefault(word, [name])
    return lexicon


def known_part(lexicon: Lexicon, vocabulary: set[str]) -> tuple[Lexicon, list[str]]:
    """Return the lexicon within the vocabulary, and what was left out of it."""
    kept: Lexicon = {}
    left_out: list[str] = []
    for word, translations in lexicon.items():
        known = [name for name in translations if name in vocabulary]
        left_out.extend(f"{word}={name}" for name in translations if name not in vocabulary)
        if known:
            kept[word] = known
    return kept, left_out


def read_vocabulary() -> set[str]:
    """Return the English words that have a vector."""
    with import_module("numpy").load(VECTORS, allow_pickle=False) as archive:
        return set(str(archive["words"]).split("\n"))


def main() -> None:
    """Build the file; print what was left out, and the digest."""
    parser = argparse.ArgumentParser(description="Rebuild the Romanian-English lexicon.")
    parser.add_argument("target", type=Path, help="the .tsv file to write")
    target = parser.parse_args().target
    with HAND_WRITTEN.open(encoding="utf-8") as lines:
        by_hand = parse(lines)
    vocabulary = read_vocabulary()
    kept, left_out = known_part(by_hand, vocabulary)
    from_cldr, _ = known_part(read_cldr(), vocabulary)
    merged = {**from_cldr, **kept}
    rows = [f"{word}\t{' '.join(merged[word])}\n" for word in sorted(merged)]
    target.write_text("".join(rows), encoding="utf-8")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    if left_out:
        sys.stdout.write(f"left out, without a vector: {', '.join(sorted(left_out))}\n")
    added = len(merged) - len(kept)
    sys.stdout.write(f"{target}: {len(kept)} words by hand, {added} of CLDR, sha256 {digest}\n")


if __name__ == "__main__":
    main()
