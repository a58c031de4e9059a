"""What a fault showed, and the verdict that follows from it by rule."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.Enum):
    """The four words of the table."""

    HOLDS = "holds"
    PARTLY = "partly"
    FAILS = "fails"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Check:
    """One thing that was looked for."""

    what: str
    is_met: bool


@dataclass(frozen=True)
class Finding:
    """What one system did under one fault: in a few words, in full, and as figures."""

    brief: str
    observed: str
    checks: Sequence[Check] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """All checks met, some, none; without a check nothing was run."""
        met = [check.is_met for check in self.checks]
        if not met:
            return Verdict.NOT_RUN
        if all(met):
            return Verdict.HOLDS
        return Verdict.PARTLY if any(met) else Verdict.FAILS

    @property
    def missed(self) -> list[str]:
        """The checks that were not met."""
        return [check.what for check in self.checks if not check.is_met]

    def as_record(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "verdict": self.verdict.value,
            "brief": self.brief,
            "observed": self.observed,
            "checks": {check.what: check.is_met for check in self.checks},
            "figures": self.figures,
        }


def not_run(reason: str) -> Finding:
    """A finding for what could not be run here."""
    return Finding(brief="", observed=reason)
