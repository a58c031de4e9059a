"""Unit tests of the verdict on a worker's death."""

from __future__ import annotations

import signal

import pytest

from basic_inference_server.supervision.autopsy import Verdict, examine
from basic_inference_server.supervision.memory_watch import MemoryWatch, OutOfMemoryWatch

GROUP = "its control group's memory limit"


@pytest.mark.parametrize(
    ("ended_by", "blames_request"),
    [(None, True), (signal.SIGSEGV, True), (signal.SIGABRT, True), (signal.SIGBUS, True),
     (signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGINT, False), (35, True)],
)  # fmt: skip
def test_only_a_crash_of_its_own_is_the_requests_fault(
    ended_by: int | None, blames_request: bool
) -> None:
    """What people and service managers send is not."""
    assert Verdict("so", blames_request) == examine("so", ended_by, None, None, 50.0)


@pytest.mark.parametrize(("held", "shown"), [(1234.4, "; it held 1234 MiB"), (None, "")])
def test_kill_for_want_of_memory_is_said_with_the_evidence(held: float | None, shown: str) -> None:
    """A bare SIGKILL would leave the operator guessing."""
    expected = Verdict(f"out of memory: the kernel killed it for {GROUP}{shown}", True)
    assert expected == examine("signal 9 (SIGKILL)", signal.SIGKILL, None, GROUP, held)


def test_crash_while_memory_runs_out_is_still_a_crash() -> None:
    """The kernel kills with SIGKILL and nothing else."""
    assert Verdict("signal 11", True) == examine("signal 11", signal.SIGSEGV, None, GROUP, 1.0)


def test_what_we_ended_it_for_comes_first() -> None:
    """Our own SIGKILL is not the kernel's."""
    doom = Verdict("hang", True)
    assert doom == examine("signal 9 (SIGKILL)", signal.SIGKILL, doom, GROUP, 1.0)


def test_risen_count_is_evidence_for_a_moment() -> None:
    """The tick may see the count rise before the death is announced; later deaths are others."""
    counts = iter([(3, 10), (3, 10), (4, 11), (4, 11), (4, 11), (5, 12)])
    watch = OutOfMemoryWatch(lambda: next(counts))
    assert None is watch.evidence(100.0)
    watch.tick(101.0)
    assert GROUP == watch.evidence(102.0)
    assert None is watch.evidence(105.0)
    assert GROUP == watch.evidence(106.0)


def test_kill_of_another_group_is_not_laid_to_our_worker() -> None:
    """The machine's count rises for every container; it counts where there is no other."""
    counts = iter([(3, 10), (3, 11), (None, 12), (None, 13)])
    watch = OutOfMemoryWatch(lambda: next(counts))
    assert None is watch.evidence(100.0)
    assert "the machine's memory" == watch.evidence(101.0)
    assert "the machine's memory" == watch.evidence(102.0)


def test_each_kill_explains_one_death() -> None:
    """Who kills a second worker by hand at that moment does not find it laid to the kernel."""
    counts = iter([(3, 10), (4, 11), (5, 12), (5, 12), (5, 12)])
    watch = OutOfMemoryWatch(lambda: next(counts))
    watch.tick(99.5)
    assert [GROUP, GROUP, None] == [watch.evidence(100.0 + n) for n in range(3)]


def test_counts_are_read_once_a_second_and_at_each_question() -> None:
    """Ten ticks a second cost one look, and a death in between is judged by what is true now."""
    reads = 0

    def read() -> tuple[None, int]:
        nonlocal reads
        reads += 1
        return None, kills

    kills = 0
    watch = OutOfMemoryWatch(read)
    for tick in range(20):
        watch.tick(100.0 + tick / 10)
    assert 1 + 2 == reads
    kills = 1
    assert "the machine's memory" == watch.evidence(101.95)
    assert 1 + 2 + 1 == reads


def test_kill_that_a_tick_has_seen_is_not_held_against_a_later_death() -> None:
    """Somebody else was killed; a worker that gets SIGKILL five seconds later was not."""
    counts = iter([(0, 0), (0, 0), (1, 1), (1, 1)])
    watch = OutOfMemoryWatch(lambda: next(counts))
    watch.tick(100.0)
    watch.tick(101.0)
    assert None is watch.evidence(106.0)


def test_counts_that_cannot_be_read_are_no_evidence() -> None:
    """A container may hide them, or show them only now and then."""
    counts = iter([(None, None), (5, None), (None, 7), (None, None)])
    watch = OutOfMemoryWatch(lambda: next(counts))
    assert [None, None, None] == [watch.evidence(float(now)) for now in range(3)]


def test_worker_over_its_hard_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it held and the key that says how much it may."""
    sizes = {41: 500 * 2**20, 42: 700 * 2**20, 43: 0}
    monkeypatch.setattr(
        "basic_inference_server.supervision.memory_watch.resident_bytes", sizes.__getitem__
    )
    watch = MemoryWatch(512)
    expected = [(42, "memory: it held 700 MiB, more than MAX_MEMORY_HARD_MB (512)")]
    assert expected == watch.sample([41, 42, 43])
    assert (500.0, None, None) == (
        watch.last_seen_mb(41), watch.last_seen_mb(43), watch.last_seen_mb(44),
    )  # fmt: skip
    assert [] == MemoryWatch(None).sample([42])


def test_looks_twice_a_second() -> None:
    """Not at each of the supervisor's ten ticks."""
    watch = MemoryWatch(None)
    assert [True, False, False, True] == [watch.is_due(now) for now in (10.0, 10.1, 10.4, 10.5)]
