"""A figure, the limit it is held to, and how that is printed. Measures nothing."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Bound(enum.Enum):
    """Which side of the limit is good."""

    AT_MOST = "<="
    AT_LEAST = ">="
    BELOW = "<"


@dataclass(frozen=True)
class Target:
    """One promise: `value` must be on the good side of `limit`."""

    name: str
    value: float
    bound: Bound
    limit: float
    unit: str = ""
    spread: tuple[float, float] | None = None

    @property
    def is_met(self) -> bool:
        """Whether the promise holds."""
        if self.bound is Bound.AT_MOST:
            return self.value <= self.limit
        if self.bound is Bound.AT_LEAST:
            return self.value >= self.limit
        return self.value < self.limit

    def line(self) -> str:
        """One line of a report."""
        verdict = "PASS" if self.is_met else "FAIL"
        unit = f" {self.unit}" if self.unit else ""
        spread = ""
        if self.spread is not None:
            spread = f"  (rounds {_short(self.spread[0])} to {_short(self.spread[1])})"
        value = f"{_short(self.value):>8}{unit}"
        return f"{verdict}  {self.name:<52} {value} {self.bound.value} {self.limit:g}{unit}{spread}"


def print_targets(targets: Sequence[Target]) -> bool:
    """Print each target's verdict; true when all are met."""
    print("\ntargets")
    for target in targets:
        print("  " + target.line())
    return all(target.is_met for target in targets)


def as_records(targets: Sequence[Target]) -> list[dict[str, object]]:
    """The targets for a JSON file."""
    return [
        {
            "name": target.name,
            "value": target.value,
            "bound": target.bound.value,
            "limit": target.limit,
            "unit": target.unit,
            "met": target.is_met,
        }
        for target in targets
    ]


def _short(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
