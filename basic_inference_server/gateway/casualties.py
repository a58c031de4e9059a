"""Requests whose worker died: why, whether the request is to blame, what its caller is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from basic_inference_server.core.errors import WorkerDied
from basic_inference_server.core.topology import Route
from basic_inference_server.gateway.death_notices import DeathNotice, DeathNotices, notice_of
from basic_inference_server.gateway.quarantine import Body, Departed, describe_strike

OnTaken = Callable[[dict[str, Any] | None], None]


class Particulars(NamedTuple):
    """What a death under a request is known by."""

    call: int
    route: Route
    body: Body
    request_id: str


class Tell(Protocol):
    """Tells the supervisor something; `on_result` gets its answer, or `None` without one."""

    def __call__(self, command: str, fields: dict[str, Any], on_result: OnTaken) -> None:
        """Send a command with its fields."""


class Casualties:
    """Follows up the deaths of workers for one gateway process."""

    def __init__(self, tell: Tell) -> None:
        self._deaths = DeathNotices()
        self._departed = Departed()
        self._tell = tell

    def announce(self, message: dict[str, Any]) -> None:
        """Take the supervisor's word that a busy worker has died.

        Raises:
            KeyError: the message lacks a field.
        """
        calls, notice = notice_of(message)
        for call in calls:
            gone = self._departed.take(call)
            if gone is not None:
                self._strike(notice, *gone, lambda _: None)
            else:
                self._deaths.announce(call, notice)

    def departed(self, call: int, route: Route, body: Body, request_id: str) -> None:
        """Keep in mind a request whose caller has had an answer, or has left."""
        self._departed.remember(call, route, body, request_id)

    def blame(self, call: int, route: Route, body: Body, request_id: str) -> None:
        """Count a death under a request that is sent once more."""
        self._deaths.when_known(
            call, lambda notice: self._strike(notice, route, body, request_id, lambda _: None)
        )

    def explain(
        self, call: int, route: Route, body: Body, request_id: str,
        fail: Callable[[WorkerDied], None],
    ) -> None:  # fmt: skip
        """Fail a request whose worker has died, with the cause if it is known soon.

        The caller is answered after the death has been counted, so that whoever sends a deadly
        body for the third time finds it in quarantine.
        """

        def on_notice(notice: DeathNotice | None) -> None:
            def answer(taken: dict[str, Any] | None) -> None:
                fail(_worker_died(route, notice, (taken or {}).get("reference")))

            self._strike(notice, route, body, request_id, answer)

        self._deaths.when_known(call, on_notice)

    def _strike(
        self, notice: DeathNotice | None, route: Route, body: Body, request_id: str, done: OnTaken
    ) -> None:
        if notice is None or not notice.blames_request:
            done(None)
        else:
            self._tell("strike", describe_strike(route, body, request_id, notice.cause), done)


def _worker_died(route: Route, notice: DeathNotice | None, reference: str | None) -> WorkerDied:
    because = f": {notice.cause}" if notice else ""
    details = {} if reference is None else {"quarantine_reference": reference}
    return WorkerDied(
        f"The worker of {route.signature} died while it had this request{because}.",
        cause=notice.cause if notice else "unknown",
        **details,
    )
