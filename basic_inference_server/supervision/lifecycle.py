"""When a server starts, waits, fails and stops: a pure function of state, event and time.

Knows the states; knows no processes, no clock and no randomness. The supervisor feeds it what it
sees and carries out the effects that come back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from basic_inference_server.core.topology import ServerState

ACTIVE_STATES = frozenset(
    {ServerState.STARTING, ServerState.LOADING, ServerState.READY, ServerState.DEGRADED}
)
RESTING_STATES = frozenset(
    {ServerState.DISABLED, ServerState.STOPPED, ServerState.FAILED, ServerState.BACKOFF}
)


@dataclass(frozen=True)
class RestartPolicy:
    """How long to wait before the n-th start in a row; seconds.

    The first restart is immediate, then the wait doubles from `first_delay_s` to `max_delay_s`.
    After `stable_after_s` of serving the count begins again.
    """

    first_delay_s: float = 1.0
    max_delay_s: float = 60.0
    jitter: float = 0.2
    stable_after_s: float = 60.0

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait after `failures` failures in a row; `chance` is uniform in [0, 1)."""
        if failures <= 1:
            return 0.0
        delay_s = min(self.first_delay_s * 2.0 ** min(failures - 2, 30), self.max_delay_s)
        return delay_s * (1 + self.jitter * (2 * chance - 1))


@dataclass(frozen=True)
class Lifecycle:
    """Where a server is in its life; instants are monotonic seconds."""

    state: ServerState = ServerState.STOPPED
    failures: int = 0
    since_s: float = 0.0
    restart_at_s: float | None = None
    last_error: str | None = None


class Effect(Enum):
    """What the supervisor has to do."""

    SPAWN = "spawn"
    TERMINATE = "terminate"


@dataclass(frozen=True)
class StartRequested:
    """Somebody wants the server to run."""


@dataclass(frozen=True)
class StopRequested:
    """Somebody wants the server to stop."""


@dataclass(frozen=True)
class LoadBegan:
    """A worker has begun to load the endpoint."""


@dataclass(frozen=True)
class WorkersChanged:
    """The number of workers that can take requests has changed."""

    ready: int
    target: int
    error: str | None = None  # why one of them is missing, when that is known


@dataclass(frozen=True)
class LoadFailed:
    """No worker of the server could load the endpoint."""

    error: str
    is_permanent: bool


@dataclass(frozen=True)
class Crashed:
    """The last worker that took requests has ended by itself, soon after it had loaded."""

    error: str
    is_replaced: bool  # the master starts another one at once


@dataclass(frozen=True)
class Exited:
    """The server's master process has ended."""

    error: str


@dataclass(frozen=True)
class Ticked:
    """Time has passed."""


Event = (
    StartRequested | StopRequested | LoadBegan | WorkersChanged | LoadFailed | Crashed | Exited
    | Ticked
)  # fmt: skip
Step = tuple[Lifecycle, tuple[Effect, ...]]


def advance(
    life: Lifecycle, event: Event, now_s: float, policy: RestartPolicy, chance: float = 0.5
) -> Step:
    """Return the lifecycle after `event` and what has to be done about it.

    An event that does not fit the state changes nothing: late news of an old process is no news.
    """
    match event:
        case StartRequested():
            return _start(life, now_s)
        case StopRequested():
            return _stop(life, now_s)
        case LoadBegan():
            if life.state is ServerState.STARTING:
                return _move(life, ServerState.LOADING, now_s), ()
            return life, ()
        case WorkersChanged(ready, target, error):
            return _count(life, ready, target, error, now_s), ()
        case LoadFailed(error, is_permanent):
            return _load_failed(life, error, now_s, policy, chance, is_permanent=is_permanent)
        case Crashed(error, is_replaced):
            return _crashed(life, error, now_s, policy, chance, is_replaced=is_replaced)
        case Exited(error):
            return _exited(life, error, now_s, policy, chance)
        case Ticked():
            return _tick(life, now_s, policy)


def _move(life: Lifecycle, state: ServerState, now_s: float) -> Lifecycle:
    if state is life.state:
        return life
    return replace(life, state=state, since_s=now_s, restart_at_s=None)


def _start(life: Lifecycle, now_s: float) -> Step:
    if life.state not in RESTING_STATES:
        return life, ()
    fresh = replace(life, failures=0)
    return _move(fresh, ServerState.STARTING, now_s), (Effect.SPAWN,)


def _stop(life: Lifecycle, now_s: float) -> Step:
    if life.state in ACTIVE_STATES:
        return _move(life, ServerState.STOPPING, now_s), (Effect.TERMINATE,)
    if life.state in {ServerState.BACKOFF, ServerState.FAILED}:
        return _move(life, ServerState.STOPPED, now_s), ()
    return life, ()


def _count(life: Lifecycle, ready: int, target: int, error: str | None, now_s: float) -> Lifecycle:
    if ready >= target and life.state in ACTIVE_STATES:
        return replace(_move(life, ServerState.READY, now_s), last_error=None)
    if error is not None and ready and life.state in ACTIVE_STATES:
        # Some have loaded and one cannot: the others serve, and nobody has to wait for it.
        return replace(_move(life, ServerState.DEGRADED, now_s), last_error=error)
    if life.state in {ServerState.READY, ServerState.DEGRADED}:
        return _move(life, ServerState.DEGRADED, now_s)
    return life


def _back_off(
    life: Lifecycle, error: str, now_s: float, policy: RestartPolicy, chance: float
) -> Lifecycle:
    failures = life.failures + 1
    return Lifecycle(
        state=ServerState.BACKOFF,
        failures=failures,
        since_s=now_s,
        restart_at_s=now_s + policy.delay_s(failures, chance),
        last_error=error,
    )


def _load_failed(
    life: Lifecycle, error: str, now_s: float, policy: RestartPolicy, chance: float,
    *, is_permanent: bool,
) -> Step:  # fmt: skip
    if life.state not in ACTIVE_STATES:
        return life, ()
    if is_permanent:
        failed = replace(_move(life, ServerState.FAILED, now_s), last_error=error)
        return failed, (Effect.TERMINATE,)
    return _back_off(life, error, now_s, policy, chance), (Effect.TERMINATE,)


def _crashed(
    life: Lifecycle, error: str, now_s: float, policy: RestartPolicy, chance: float,
    *, is_replaced: bool,
) -> Step:  # fmt: skip
    if life.state not in ACTIVE_STATES:
        return life, ()
    if life.failures or not is_replaced:
        return _back_off(life, error, now_s, policy, chance), (Effect.TERMINATE,)
    # The first restart is immediate, and no other process is quicker than its master.
    served = life.state in {ServerState.READY, ServerState.DEGRADED}
    first = _move(life, ServerState.DEGRADED, now_s) if served else life
    return replace(first, failures=1, last_error=error), ()


def _exited(
    life: Lifecycle, error: str, now_s: float, policy: RestartPolicy, chance: float
) -> Step:
    if life.state is ServerState.STOPPING:
        return _move(life, ServerState.STOPPED, now_s), ()
    if life.state in ACTIVE_STATES:
        return _back_off(life, error, now_s, policy, chance), (Effect.TERMINATE,)
    return life, ()


def _tick(life: Lifecycle, now_s: float, policy: RestartPolicy) -> Step:
    if life.state is ServerState.BACKOFF:
        if life.restart_at_s is not None and now_s >= life.restart_at_s:
            return _move(life, ServerState.STARTING, now_s), (Effect.SPAWN,)
        return life, ()
    is_stable = (
        life.state is ServerState.READY
        and life.failures > 0
        and now_s - life.since_s >= policy.stable_after_s
    )
    return (replace(life, failures=0) if is_stable else life), ()
