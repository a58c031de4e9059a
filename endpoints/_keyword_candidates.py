"""Which phrases of a text may be keywords."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from endpoints._natural_text import Language, Word, words_of

MAX_CANDIDATES = 400  # the most frequent ones of a long text; more change no ranking


@dataclass
class Candidate:
    """A phrase, in all the forms in which the text has it."""

    stems: tuple[str, ...]
    first: int
    within: int = 0  # how many of its occurrences belong to one longer phrase that is repeated
    forms: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How often the text has it."""
        return self.forms.total()

    @property
    def own_count(self) -> int:
        """How often the text has it on its own."""
        return self.count - self.within

    @property
    def shown(self) -> str:
        """The form that the text has most often; of equals the first one."""
        return self.forms.most_common(1)[0][0]


def runs_of(text: str, language: Language) -> list[list[Word]]:
    """Return the sequences of words that no stop word and no punctuation interrupts."""
    runs: list[list[Word]] = []
    previous: Word | None = None
    for word in words_of(text):
        if language.is_stop_word(word.text):
            previous = None
            continue
        if previous is not None and text[previous.end : word.start].isspace():
            runs[-1].append(word)
        else:
            runs.append([word])
        previous = word
    return runs


def candidates_of(runs: list[list[Word]], language: Language, max_words: int) -> list[Candidate]:
    """Return the phrases of up to `max_words` words, the most frequent ones first."""
    found: dict[tuple[str, ...], Candidate] = {}
    for run in runs:
        stems = [language.stem(word.text) for word in run]
        for start in range(len(run)):
            for end in range(start + 1, min(start + max_words, len(run)) + 1):
                key = tuple(stems[start:end])
                candidate = found.setdefault(key, Candidate(key, run[start].start))
                candidate.forms[" ".join(word.text for word in run[start:end])] += 1
    for longer in found.values():
        if longer.count > 1:
            for part in _parts(longer.stems):
                found[part].within = max(found[part].within, longer.count)
    ordered = sorted(found.values(), key=lambda c: (-c.count * len(c.stems), c.first))
    return [candidate for candidate in ordered if candidate.own_count > 0][:MAX_CANDIDATES]


def _parts(stems: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return every shorter phrase in a phrase."""
    sizes = range(1, len(stems))
    parts = [stems[at : at + size] for size in sizes for at in range(len(stems) - size + 1)]
    return [part for part in parts if part != stems]
