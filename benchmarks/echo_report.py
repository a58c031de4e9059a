"""Prints the tables of an echo run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

import echo_samples
from echo_samples import AllSamples, Figure
from systems import FLASK, MOSEC, OURS

NAME_WIDTH = 8
CELL_WIDTH = 24

LEVEL_TABLES: tuple[tuple[str, Figure, int], ...] = (
    ("throughput, requests/s", echo_samples.requests_per_s, 0),
    ("latency p50, ms", echo_samples.p50_ms, 3),
    ("latency p90, ms", echo_samples.p90_ms, 3),
    ("latency p99, ms", echo_samples.p99_ms, 2),
    ("CPU of the whole server tree, seconds per 1,000 requests", echo_samples.cpu_s_per_1000, 4),
)


def print_report(samples: AllSamples) -> None:
    """All tables; each cell is the median of the rounds with the smallest and largest."""
    connections = list(next(iter(samples.values())).levels)
    heads = [f"c={count}" for count in connections]
    for title, figure, digits in LEVEL_TABLES:
        _print_table(
            title,
            heads,
            {
                name: [
                    _spread(echo_samples.figures(system.levels[count], figure), digits)
                    for count in connections
                ]
                for name, system in samples.items()
            },
        )
    _print_table(
        "CPU s per 1,000 requests (mean of the columns above), PSS, launch to first 200",
        ["CPU s/1,000", "PSS MB", "start s"],
        {
            name: [
                _spread(system.cpu_s_per_1000(), 4),
                _spread(system.pss_mb, 1),
                _spread(system.start_s, 2),
            ]
            for name, system in samples.items()
        },
    )
    for other in (MOSEC, FLASK):
        if OURS in samples and other in samples:
            _print_ratios(samples, other, heads, connections)
    for name, system in samples.items():
        for error in system.errors:
            print(f"ERROR {name}: {error}")


def _print_ratios(
    samples: AllSamples, other: str, heads: Sequence[str], connections: Iterable[int]
) -> None:
    ours, theirs = samples[OURS].levels, samples[other].levels

    def row(figure: Figure) -> list[str]:
        return [
            _spread(
                echo_samples.ratios(
                    echo_samples.figures(ours[count], figure),
                    echo_samples.figures(theirs[count], figure),
                ),
                2,
            )
            for count in connections
        ]

    _print_table(
        f"{OURS} / {other} (ratio of each round, then the median)",
        heads,
        {
            "req/s": row(echo_samples.requests_per_s),
            "p50": row(echo_samples.p50_ms),
            "p90": row(echo_samples.p90_ms),
            "p99": row(echo_samples.p99_ms),
            "CPU": row(echo_samples.cpu_s_per_1000),
        },
    )
    pairs: tuple[tuple[str, Callable[[echo_samples.SystemSamples], list[float]]], ...] = (
        ("CPU, mean of all", lambda system: system.cpu_s_per_1000()),
        ("PSS", lambda system: system.pss_mb),
        ("start", lambda system: system.start_s),
    )
    for title, pick in pairs:
        found = echo_samples.ratios(pick(samples[OURS]), pick(samples[other]))
        print(f"  {title}: {_spread(found, 2)}")


def _print_table(title: str, heads: Sequence[str], rows: dict[str, list[str]]) -> None:
    print(f"\n{title}")
    print(" " * NAME_WIDTH + "".join(f"{head:>{CELL_WIDTH}}" for head in heads))
    for name, cells in rows.items():
        print(f"{name:<{NAME_WIDTH}}" + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells))


def _spread(values: Sequence[float], digits: int) -> str:
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"
