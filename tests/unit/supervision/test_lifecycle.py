"""Unit tests of the lifecycle: every event in every state, and when a restart is due."""

from __future__ import annotations

from dataclasses import replace

import pytest

from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.lifecycle import (
    ACTIVE_STATES,
    RESTING_STATES,
    Crashed,
    Effect,
    Event,
    Exited,
    Lifecycle,
    LoadBegan,
    LoadFailed,
    RestartPolicy,
    StartRequested,
    Step,
    StopRequested,
    Ticked,
    WorkersChanged,
    advance,
)

S = ServerState
POLICY = RestartPolicy()
NOW_S = 500.0
SPAWN, TERMINATE = Effect.SPAWN, Effect.TERMINATE
EVENTS: dict[str, Event] = {
    "start": StartRequested(),
    "stop": StopRequested(),
    "loading": LoadBegan(),
    "all ready": WorkersChanged(2, 2),
    "one ready": WorkersChanged(1, 2),
    "none ready": WorkersChanged(0, 2),
    "cannot ever load": LoadFailed("no such module", is_permanent=True),
    "could not load": LoadFailed("disk", is_permanent=False),
    "crashed": Crashed("exit code 1", is_replaced=True),
    "exited": Exited("signal 9"),
    "tick": Ticked(),
}
# What is not listed changes nothing.
RISING = {
    "stop": (S.STOPPING, TERMINATE),
    "all ready": (S.READY, None),
    "cannot ever load": (S.FAILED, TERMINATE),
    "could not load": (S.BACKOFF, TERMINATE),
    "crashed": (S.BACKOFF, TERMINATE),
    "exited": (S.BACKOFF, TERMINATE),
}
SERVING = {**RISING, "one ready": (S.DEGRADED, None), "none ready": (S.DEGRADED, None)}
TRANSITIONS: dict[ServerState, dict[str, tuple[ServerState, Effect | None]]] = {
    S.DISABLED: {"start": (S.STARTING, SPAWN)},
    S.STARTING: {**RISING, "loading": (S.LOADING, None)},
    S.LOADING: RISING,
    S.READY: SERVING,
    S.DEGRADED: SERVING,
    S.BACKOFF: {
        "start": (S.STARTING, SPAWN),
        "stop": (S.STOPPED, None),
        "tick": (S.STARTING, SPAWN),
    },
    S.FAILED: {"start": (S.STARTING, SPAWN), "stop": (S.STOPPED, None)},
    S.STOPPING: {"exited": (S.STOPPED, None)},
    S.STOPPED: {"start": (S.STARTING, SPAWN)},
}


def life_in(state: ServerState) -> Lifecycle:
    restart_at_s = NOW_S if state is S.BACKOFF else None
    return Lifecycle(state, failures=2, since_s=NOW_S - 1, restart_at_s=restart_at_s)


def step(life: Lifecycle, event: Event, now_s: float = NOW_S, chance: float = 0.5) -> Step:
    return advance(life, event, now_s, POLICY, chance)


def after(life: Lifecycle, *events: Event) -> Lifecycle:
    for event in events:
        life, _ = step(life, event)
    return life


@pytest.mark.parametrize("state", list(S), ids=lambda state: state.value)
def test_every_event_leads_where_the_design_says(state: ServerState) -> None:
    """Each of the nine states answers each of the eleven events in one defined way."""
    for name, event in EVENTS.items():
        expected_state, effect = TRANSITIONS[state].get(name, (state, None))
        life, effects = step(life_in(state), event)
        assert (expected_state, (effect,) if effect else ()) == (life.state, effects), name


@pytest.mark.parametrize("state", list(S), ids=lambda state: state.value)
def test_event_that_changes_nothing_returns_the_same_life(state: ServerState) -> None:
    """Nobody is told of a change that is none."""
    for name, event in EVENTS.items():
        if name not in TRANSITIONS[state]:
            before = life_in(state)
            assert before is step(before, event)[0], name


@pytest.mark.parametrize("state", list(S), ids=lambda state: state.value)
def test_change_of_state_is_dated(state: ServerState) -> None:
    """How long a server has been in its state counts from the event, and only then."""
    for name, event in EVENTS.items():
        life, _ = step(life_in(state), event)
        expected_s = NOW_S - 1 if life.state is state else NOW_S
        assert expected_s == life.since_s, name


def test_states_are_either_active_or_resting_or_stopping() -> None:
    """Every state is in one group, so none is forgotten where the groups are used."""
    assert set(S) == ACTIVE_STATES | RESTING_STATES | {S.STOPPING}
    assert not ACTIVE_STATES & RESTING_STATES


def test_first_life_of_a_server() -> None:
    """From start to ready to stopped, with nothing going wrong."""
    life = Lifecycle()
    states = []
    for event in (
        StartRequested(), LoadBegan(), WorkersChanged(1, 2), WorkersChanged(2, 2),
        WorkersChanged(1, 2), WorkersChanged(2, 2), StopRequested(), Exited("exit code 0"),
    ):  # fmt: skip
        life = after(life, event)
        states.append(life.state)
    assert [
        S.STARTING, S.LOADING, S.LOADING, S.READY, S.DEGRADED, S.READY, S.STOPPING, S.STOPPED,
    ] == states  # fmt: skip
    assert (0, None, None) == (life.failures, life.last_error, life.restart_at_s)


@pytest.mark.parametrize(
    ("failures", "expected_s"),
    [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 32), (8, 60), (50, 60),
     (10**6, 60)],
)  # fmt: skip
def test_wait_before_a_restart_doubles_up_to_its_cap(failures: int, expected_s: float) -> None:
    """The first restart is immediate; a loop of crashes ends at one start a minute."""
    assert expected_s == POLICY.delay_s(failures, chance=0.5)


@pytest.mark.parametrize("failures", [2, 5, 100])
def test_wait_is_spread_by_a_fifth(failures: int) -> None:
    """Servers that died together do not all come back in the same instant."""
    middle_s = POLICY.delay_s(failures, 0.5)
    assert pytest.approx(0.8 * middle_s) == POLICY.delay_s(failures, 0.0)
    assert pytest.approx(1.2 * middle_s) == POLICY.delay_s(failures, 1.0)


def test_crash_loop_waits_longer_each_time() -> None:
    """Each failure in a row is counted, dated and named."""
    life = after(Lifecycle(), StartRequested())
    now_s, waits = NOW_S, []
    for number in range(1, 9):
        life, effects = step(life, Exited(f"crash {number}"), now_s)
        assert (S.BACKOFF, (TERMINATE,), number) == (life.state, effects, life.failures)
        assert f"crash {number}" == life.last_error
        assert life.restart_at_s is not None
        waits.append(life.restart_at_s - now_s)
        now_s = life.restart_at_s
        life, effects = step(life, Ticked(), now_s)
        assert (S.STARTING, (SPAWN,), None) == (life.state, effects, life.restart_at_s)
    assert [0, 1, 2, 4, 8, 16, 32, 60] == waits


@pytest.mark.parametrize("state", [S.READY, S.DEGRADED, S.LOADING])
def test_first_crash_soon_after_the_load_is_left_to_the_master(state: ServerState) -> None:
    """It starts the next worker at once; that is counted and shown, and nothing is ended."""
    life = Lifecycle(state, since_s=NOW_S - 1)
    crashed, effects = step(life, Crashed("exit code 1", is_replaced=True))
    expected = S.LOADING if state is S.LOADING else S.DEGRADED
    assert (expected, (), 1, "exit code 1") == (
        crashed.state, effects, crashed.failures, crashed.last_error,
    )  # fmt: skip


def test_crash_that_the_master_waits_after_is_a_backoff() -> None:
    """Callers are not left waiting for a worker that nobody starts."""
    life, effects = step(Lifecycle(S.DEGRADED), Crashed("exit code 1", is_replaced=False))
    assert (S.BACKOFF, (TERMINATE,), NOW_S) == (life.state, effects, life.restart_at_s)


def test_loop_of_crashes_soon_after_the_load_follows_the_curve() -> None:
    """At once, then after 1, 2, 4 ... s, although each worker had been ready."""
    life, now_s, waits = after(Lifecycle(), StartRequested(), WorkersChanged(1, 1)), NOW_S, []
    for _ in range(8):
        life, effects = step(life, Crashed("exit code 1", is_replaced=True), now_s)
        if effects:
            assert life.restart_at_s is not None
            waits.append(life.restart_at_s - now_s)
            now_s = life.restart_at_s
            life, _ = step(life, Ticked(), now_s)
        life, _ = step(life, WorkersChanged(1, 1), now_s)
        assert S.READY is life.state
    assert [1, 2, 4, 8, 16, 32, 60] == waits


def test_crash_loop_starts_at_most_twelve_times_in_five_minutes() -> None:
    """With waits of average length and a server that dies at once each time."""
    life, _ = step(Lifecycle(), StartRequested())
    now_s, starts = NOW_S, 1
    while now_s < NOW_S + 300:
        life, _ = step(life, Exited("at once"), now_s)
        assert life.restart_at_s is not None
        now_s = life.restart_at_s
        life, effects = step(life, Ticked(), now_s)
        starts += effects == (SPAWN,) and now_s < NOW_S + 300
    assert 12 >= starts


def test_restart_waits_for_its_instant() -> None:
    """A tick before the instant does nothing, one at the instant starts the server."""
    life = Lifecycle(S.BACKOFF, failures=3, since_s=NOW_S, restart_at_s=NOW_S + 2)
    assert (life, ()) == step(life, Ticked(), NOW_S + 1.999)
    assert (SPAWN,) == step(life, Ticked(), NOW_S + 2)[1]


def test_serving_for_a_minute_earns_the_counter_back() -> None:
    """Afterwards a crash is a first one again: its restart is immediate."""
    life = Lifecycle(S.READY, failures=5, since_s=NOW_S)
    assert 5 == step(life, Ticked(), NOW_S + 59.9)[0].failures
    life = step(life, Ticked(), NOW_S + 60)[0]
    assert (S.READY, 0, NOW_S) == (life.state, life.failures, life.since_s)
    life = step(life, Exited("signal 9"), NOW_S + 61)[0]
    assert (1, NOW_S + 61) == (life.failures, life.restart_at_s)


@pytest.mark.parametrize("state", [S.LOADING, S.DEGRADED, S.STARTING])
def test_only_full_service_earns_the_counter_back(state: ServerState) -> None:
    """A server that loads for an hour has proved nothing."""
    life = Lifecycle(state, failures=5, since_s=NOW_S)
    assert 5 == step(life, Ticked(), NOW_S + 3600)[0].failures


@pytest.mark.parametrize("state", sorted(RESTING_STATES))
def test_person_who_starts_a_server_starts_its_count_anew(state: ServerState) -> None:
    """A start that was asked for does not wait and forgets old failures."""
    life = replace(life_in(state), failures=7, last_error="signal 9")
    life, effects = step(life, StartRequested())
    assert (S.STARTING, 0, None, (SPAWN,)) == (
        life.state, life.failures, life.restart_at_s, effects,
    )  # fmt: skip


def test_last_error_is_shown_until_the_server_serves_again() -> None:
    """While it restarts, people see why; when it is ready, the error is history."""
    life = after(Lifecycle(), StartRequested(), Exited("signal 9"), Ticked(), LoadBegan())
    assert "signal 9" == life.last_error
    assert None is after(life, WorkersChanged(2, 2)).last_error


def test_permanent_failure_waits_for_a_person() -> None:
    """No tick ever starts it again."""
    failure = LoadFailed("no such file", is_permanent=True)
    life = after(Lifecycle(), StartRequested(), failure)
    assert (S.FAILED, "no such file", None) == (life.state, life.last_error, life.restart_at_s)
    assert (life, ()) == step(life, Ticked(), NOW_S + 1e9)


def test_late_news_of_a_stopped_server_is_no_news() -> None:
    """What an ending process still says does not bring its server back."""
    life = after(Lifecycle(), StartRequested(), WorkersChanged(1, 1), StopRequested())
    late = (WorkersChanged(0, 1), WorkersChanged(1, 1), LoadBegan(), LoadFailed("x", False))
    assert life is after(life, *late)
    stopped = after(life, Exited("exit code 0"))
    assert S.STOPPED is stopped.state
    assert stopped is after(stopped, *late, Exited("signal 9"), Ticked())
