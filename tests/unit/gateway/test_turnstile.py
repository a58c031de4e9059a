"""Unit tests of letting requests in fairly between endpoints, turn by turn of the loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.turnstile import STARTS_PER_TURN, Turnstile
from tests.support.exchanges import FakeConnection, make_exchange


class TurnByTurn:
    """A loop whose turns a test makes, and what was handled in each."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.turns = 0
        self.handled: list[str] = []
        self.turnstile = Turnstile(cast("Any", self), self._handle)

    def time(self) -> float:
        return self.turns / 1000

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def _handle(self, exchange: Exchange, bound_signature: str | None) -> None:
        self.handled.append(exchange.request_id.decode())

    def enter(
        self, name: str, signature: str | None = "a", bound: str | None = None, gone: bool = False,
        target: str = "/run", body: bytes | None = None,
    ) -> None:  # fmt: skip
        connection = FakeConnection()
        if body is None:
            body = json.dumps({"SIGNATURE": signature}).encode()
        exchange = make_exchange("POST", target, {"X-Request-Id": name}, body, connection)
        connection.awaited = None if gone else exchange
        self.turnstile.enter(exchange, bound)

    def fill(self) -> None:
        """Use up what may start in this turn."""
        for _ in range(STARTS_PER_TURN):
            self.enter("first")
        self.handled.clear()

    def turn(self) -> list[str]:
        """Make the next turn; return what it has handled."""
        self.turns += 1
        self.handled.clear()
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return list(self.handled)


@pytest.fixture
def loop() -> TurnByTurn:
    return TurnByTurn()


def test_nothing_waits_below_the_limit(loop: TurnByTurn) -> None:
    """And each turn begins anew."""
    for turn in range(3):
        for number in range(STARTS_PER_TURN):
            loop.enter(f"{turn}.{number}")
        assert STARTS_PER_TURN == len(loop.handled)
        assert [] == loop.calls, "a gateway that keeps up makes no turns of its own"
        assert [] == loop.turn()


def test_what_waits_is_taken_by_endpoint_in_rotation(loop: TurnByTurn) -> None:
    """The only request of another endpoint does not stand behind a flood."""
    loop.fill()
    for number in range(2 * STARTS_PER_TURN):
        loop.enter(f"a{number}")
    loop.enter("b0", "b")
    assert [] == loop.handled
    first = loop.turn()
    assert ["a0", "b0", "a1"] == first[:3]
    assert STARTS_PER_TURN == len(first)
    assert STARTS_PER_TURN == len(loop.turn())
    assert 1 == len(loop.turn())
    assert [] == loop.turn()


def test_newcomer_goes_behind_those_who_wait_for_the_same(loop: TurnByTurn) -> None:
    """While a turn has room left it starts at once, and then nobody waits."""
    loop.fill()
    loop.enter("waits")
    assert ["waits"] == loop.turn()
    loop.enter("at_once")
    assert ["waits", "at_once"] == loop.handled


def test_client_that_has_left_takes_nobodys_turn(loop: TurnByTurn) -> None:
    """Its request is dropped."""
    loop.fill()
    for number in range(STARTS_PER_TURN):
        loop.enter(f"gone{number}", gone=True)
    loop.enter("there")
    assert ["there"] == loop.turn()


def test_endpoint_is_known_by_port_path_or_body(loop: TurnByTurn) -> None:
    """Bodies that are wrong in themselves share one place; routes have one each."""
    loop.fill()
    for number in range(3):
        loop.enter(f"a{number}")
    loop.enter("bound", bound="b")
    loop.enter("path", target="/run/c")
    loop.enter("wrong", body=b"{")
    loop.enter("wrong_too", body=b'{"SIGNATURE": 5}')
    loop.enter("huge", body=b"x" * 70_000)
    assert ["a0", "bound", "path", "wrong", "huge", "a1", "wrong_too", "a2"] == loop.turn()
