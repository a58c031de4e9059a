"""The samples of an echo run and what follows from them: medians, spreads, ratios. No I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from load import LoadResult
from systems import FLASK, MOSEC, OURS
from targets import Bound, Target

MAX_CPU_TO_MOSEC = 0.85
MAX_CPU_TO_FLASK = 0.30
MIN_THROUGHPUT_TO_MOSEC = 1.1
MAX_P50_ABOVE_MOSEC_MS = 0.1
THROUGHPUT_CONNECTIONS = (8, 32, 64)
TAIL_CONNECTIONS = (32, 64)


@dataclass(frozen=True)
class LevelSample:
    """One run of the load generator against one system."""

    load: LoadResult
    cpu_s: float

    @property
    def cpu_s_per_1000(self) -> float:
        """CPU seconds of the server's whole tree per 1,000 completed requests."""
        return self.cpu_s / max(1, self.load.requests) * 1000


@dataclass
class SystemSamples:
    """Everything measured of one system; the n-th entry of each list is of round n."""

    start_s: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)
    levels: dict[int, list[LevelSample]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def cpu_s_per_1000(self) -> list[float]:
        """Per round, the mean over the connection counts, each counting the same."""
        rounds = zip(*self.levels.values(), strict=True)
        return [statistics.fmean(level.cpu_s_per_1000 for level in levels) for levels in rounds]


AllSamples = dict[str, SystemSamples]
Figure = Callable[[LevelSample], float]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: neighbours in time saw the same noise."""
    pairs = zip(ours, theirs, strict=True)
    return [mine / other if other else math.inf for mine, other in pairs]


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, as `ratios`."""
    return [mine - other for mine, other in zip(ours, theirs, strict=True)]


def judge(samples: AllSamples) -> list[Target]:
    """The targets that the measured systems and connection counts allow to be judged."""
    targets = [*_cpu_targets(samples), *_speed_targets(samples)]
    errors = sum(len(system.errors) for system in samples.values())
    targets.append(Target("runs with an error or a wrong answer", errors, Bound.AT_MOST, 0))
    return targets


def _cpu_targets(samples: AllSamples) -> list[Target]:
    limits = ((MOSEC, MAX_CPU_TO_MOSEC), (FLASK, MAX_CPU_TO_FLASK))
    return [
        _target(
            f"CPU per request, ratio to {name}",
            ratios(samples[OURS].cpu_s_per_1000(), samples[name].cpu_s_per_1000()),
            Bound.AT_MOST,
            limit,
        )
        for name, limit in limits
        if OURS in samples and name in samples
    ]


def _speed_targets(samples: AllSamples) -> list[Target]:
    if OURS not in samples or MOSEC not in samples:
        return []
    ours, mosec = samples[OURS].levels, samples[MOSEC].levels
    targets = []
    for count in (count for count in THROUGHPUT_CONNECTIONS if count in ours):
        found = ratios(figures(ours[count], requests_per_s), figures(mosec[count], requests_per_s))
        name = f"throughput at {count} connections, ratio to mosec"
        targets.append(_target(name, found, Bound.AT_LEAST, MIN_THROUGHPUT_TO_MOSEC))
    if 1 in ours:
        found = differences(figures(ours[1], p50_ms), figures(mosec[1], p50_ms))
        name = "p50 at 1 connection, above mosec's"
        targets.append(_target(name, found, Bound.AT_MOST, MAX_P50_ABOVE_MOSEC_MS, "ms"))
    for count in (count for count in TAIL_CONNECTIONS if count in ours):
        found = ratios(figures(ours[count], p99_ms), figures(mosec[count], p99_ms))
        name = f"p99 at {count} connections, ratio to mosec"
        targets.append(_target(name, found, Bound.AT_MOST, 1.0))
    return targets


def _target(
    name: str, values: Sequence[float], bound: Bound, limit: float, unit: str = ""
) -> Target:
    spread = (min(values), max(values))
    return Target(name, statistics.median(values), bound, limit, unit, spread)


def figures(levels: Sequence[LevelSample], figure: Figure) -> list[float]:
    """One figure of each round."""
    return [figure(level) for level in levels]


def requests_per_s(level: LevelSample) -> float:
    """Throughput."""
    return level.load.requests_per_s


def p50_ms(level: LevelSample) -> float:
    """Median latency."""
    return level.load.p50_ms


def p90_ms(level: LevelSample) -> float:
    """Latency nine of ten requests stay under."""
    return level.load.p90_ms


def p99_ms(level: LevelSample) -> float:
    """Latency 99 of 100 requests stay under."""
    return level.load.p99_ms


def cpu_s_per_1000(level: LevelSample) -> float:
    """CPU seconds per 1,000 requests."""
    return level.cpu_s_per_1000
