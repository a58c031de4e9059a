"""Unit tests of when a worker's place is filled again."""

from __future__ import annotations

import pytest

from basic_inference_server.prefork.respawn import (
    CALLERS_DEATHS,
    YOUNG_S,
    End,
    Record,
    WorkerPlaces,
    after,
    pause_s,
)

NOW_S = 500.0
SOON_S = 0.05


def waits_after(*ends: End, lived_s: float = SOON_S) -> list[float]:
    """Return how long a place stays empty after each of these ends."""
    record, waits = Record(), []
    for end in ends:
        record = after(record, end, lived_s, NOW_S)
        waits.append(record.free_at_s - NOW_S)
    return waits


@pytest.mark.parametrize("end", [End.UNUSED, End.UNLOADED])
def test_lives_that_end_by_themselves_wait_longer_each_time(end: End) -> None:
    """At once, then after 1, 2, 4 ... 60 s, with the load behind it or not."""
    assert [0, 1, 2, 4, 8, 16, 32, 60, 60] == waits_after(*[end] * 9)


def test_wait_has_a_cap_for_any_count() -> None:
    """No number of failures overflows."""
    assert 60.0 == pause_s(10**6)


def test_worker_that_has_served_for_a_while_is_replaced_at_once() -> None:
    """A crash after that is news, and no loop."""
    assert [0, 0, 0] == waits_after(*[End.UNUSED] * 3, lived_s=YOUNG_S)
    record = after(Record(failures=5), End.UNUSED, YOUNG_S, NOW_S)
    assert Record(free_at_s=NOW_S) == record


def test_load_that_takes_long_is_no_service() -> None:
    """A worker that dies while it loads has failed, however late."""
    assert 1 == after(Record(failures=1), End.UNLOADED, YOUNG_S, NOW_S).free_at_s - NOW_S


def test_kill_from_outside_neither_slows_down_nor_forgives() -> None:
    """Who kills workers gets them back at once; a loop goes on where it was."""
    assert [0] * 20 == waits_after(*[End.KILLED] * 20)
    assert [0, 1, 0, 2] == waits_after(End.UNUSED, End.UNUSED, End.KILLED, End.UNUSED)


def test_requests_that_kill_cost_the_others_no_backoff() -> None:
    """One caller cannot take an endpoint down; a flood of such requests gets a pause of 1 s."""
    waits = waits_after(*[End.USED] * (CALLERS_DEATHS + 2))
    assert [0.0] * CALLERS_DEATHS + [1.0, 1.0] == waits


def test_worker_that_was_asked_to_leave_leaves_nothing_behind() -> None:
    """Recycling begins a new count."""
    assert Record(free_at_s=NOW_S) == after(Record(7, 3), End.LEFT, SOON_S, NOW_S)


def test_places_that_were_never_filled_are_filled_at_once() -> None:
    """A start forks all workers, and more when there are to be more."""
    assert [Record(), Record()] == WorkerPlaces().to_fill(2, NOW_S)


def test_each_place_has_a_wait_of_its_own() -> None:
    """One that keeps failing does not keep the others, or new ones, empty."""
    places = WorkerPlaces()
    for pid in (1, 2):
        places.fill(Record(failures=pid), pid)
    assert 1 == places.clear(1, End.UNUSED, SOON_S, NOW_S)
    assert 0 == places.clear(2, End.LEFT, SOON_S, NOW_S)
    assert [Record()] == places.to_fill(2, NOW_S)
    assert 2 == len(places.to_fill(3, NOW_S))
    (_, due) = places.to_fill(2, NOW_S + 1)
    assert 2 == due.failures


def test_place_keeps_its_count_when_it_is_filled() -> None:
    """The next worker there goes on with the count of the last one."""
    places = WorkerPlaces()
    waits = []
    for pid in range(4):
        (record,) = places.to_fill(1, NOW_S + 100)
        places.fill(record, pid)
        waits.append(places.clear(pid, End.UNUSED, SOON_S, NOW_S))
    assert [0, 1, 2, 4] == waits


def test_fewer_places_forget_those_that_wait_longest() -> None:
    """Scaling down drops the worse place, not the better one."""
    places = WorkerPlaces()
    places.fill(Record(failures=3), 1)
    places.fill(Record(), 2)
    places.clear(1, End.UNUSED, SOON_S, NOW_S)
    places.clear(2, End.UNUSED, SOON_S, NOW_S)
    assert [1] == [record.failures for record in places.to_fill(1, NOW_S + 100)]


def test_place_that_is_filled_before_its_worker_has_left_hides_no_other() -> None:
    """Who leaves is replaced early; its end does not make a broken place a new one."""
    places = WorkerPlaces()
    for pid, record in enumerate((Record(failures=3), Record(), Record())):
        places.fill(record, pid)
    places.clear(0, End.UNUSED, SOON_S, NOW_S)
    places.clear(1, End.LEFT, SOON_S, NOW_S)
    assert [] == places.to_fill(1, NOW_S)


def test_first_wait_may_be_longer() -> None:
    """An endpoint that has never loaded is the supervisor's to judge first."""
    places = WorkerPlaces()
    assert 1 == places.clear(1, End.UNLOADED, 0.0, NOW_S, least_pause_s=1.0)
