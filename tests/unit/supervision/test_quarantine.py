"""Unit tests of counting deaths against the requests that caused them."""

from __future__ import annotations

import pytest

from basic_inference_server.supervision.quarantine import MAX_ENTRIES, Quarantine, Strike
from tests.support.manual_clock import ManualClock

WINDOW_S = 600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.supervision.quarantine.monotonic_s", clock)
    return clock


def strike(fingerprint: str = "ab" * 16, signature: str = "demo", request_id: str = "r") -> Strike:
    return Strike(signature, fingerprint, 10, request_id, "signal 11 (SIGSEGV)")


def test_two_deaths_within_the_window_count(clock: ManualClock) -> None:
    """The second one brings the reference, and what gateways need to refuse the third."""
    quarantine = Quarantine()
    assert None is quarantine.strike(strike(), WINDOW_S)
    assert {} == quarantine.by_signature()
    clock.advance(WINDOW_S)
    assert "q-" + "ab" * 8 == quarantine.strike(strike(), WINDOW_S)
    assert {"demo": {"ab" * 16: 10}} == quarantine.by_signature()


def test_deaths_far_apart_do_not_count_together(clock: ManualClock) -> None:
    """A request that kills once a day is bad luck."""
    quarantine = Quarantine()
    for _ in range(5):
        assert None is quarantine.strike(strike(), WINDOW_S)
        clock.advance(WINDOW_S + 1)


def test_other_bodies_and_other_endpoints_are_others(clock: ManualClock) -> None:
    """Each pair of endpoint and body has a count of its own."""
    quarantine = Quarantine()
    for one in (strike(), strike(signature="other"), strike("cd" * 16)):
        assert None is quarantine.strike(one, WINDOW_S)


def test_window_of_zero_counts_nothing(clock: ManualClock) -> None:
    """The endpoint does not want it."""
    quarantine = Quarantine()
    assert [None, None, None] == [quarantine.strike(strike(), 0) for _ in range(3)]


def test_report_says_who_died_of_what(clock: ManualClock) -> None:
    """Both deaths, each with the id of its request."""
    quarantine = Quarantine()
    for number in range(2):
        quarantine.strike(strike(request_id=f"r{number}"), WINDOW_S)
    (report,) = quarantine.reports()
    assert ("demo", 10, None) == (report["SIGNATURE"], report["BODY_BYTES"], report["BODY"])
    assert ["r0", "r1"] == [death["request_id"] for death in report["DEATHS"]]


def test_released_body_starts_anew(clock: ManualClock) -> None:
    """Two more deaths bring it back."""
    quarantine = Quarantine()
    reference = [quarantine.strike(strike(), WINDOW_S) for _ in range(2)][-1]
    assert reference is not None
    assert [] == quarantine.release("q-other")
    assert [reference] == quarantine.release(reference)
    assert {} == quarantine.by_signature()
    assert None is quarantine.strike(strike(), WINDOW_S)
    assert reference == quarantine.strike(strike(), WINDOW_S)
    assert [reference] == quarantine.release("*")


def test_new_code_starts_anew(clock: ManualClock) -> None:
    """Suspicions are forgotten too, and only those of that endpoint."""
    quarantine = Quarantine()
    for _ in range(2):
        quarantine.strike(strike(), WINDOW_S)
        quarantine.strike(strike(signature="other"), WINDOW_S)
    quarantine.strike(strike("cd" * 16), WINDOW_S)
    assert quarantine.forget("demo")
    assert ["other"] == list(quarantine.by_signature())
    assert None is quarantine.strike(strike("cd" * 16), WINDOW_S)
    assert not quarantine.forget("third")


def test_memory_is_bounded(clock: ManualClock) -> None:
    """The oldest entry goes: an attacker cannot fill the supervisor."""
    quarantine = Quarantine()
    for number in range(MAX_ENTRIES + 5):
        for _ in range(2):
            quarantine.strike(strike(f"{number:032x}"), WINDOW_S)
    kept = quarantine.by_signature()["demo"]
    assert (MAX_ENTRIES, False) == (len(kept), f"{0:032x}" in kept)
