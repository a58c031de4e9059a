"""Unit tests of what is said about a proxy on this machine."""

from __future__ import annotations

import pytest

from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.gateway.proxy_watch import ProxyWatch
from tests.support.exchanges import FakeConnection, make_exchange
from tests.support.planes import Plane


@pytest.fixture
def said() -> list[Event]:
    return []


def look(watch: ProxyWatch, client: str, **headers: str) -> None:
    """Look at a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    watch.look(make_exchange(headers=named, connection=FakeConnection(client)))


@pytest.mark.parametrize("header", ["X-Forwarded-For", "x-real-ip", "Via", "Forwarded"])
def test_proxy_on_this_machine_is_warned_of_once(said: list[Event], header: str) -> None:
    """The line says what to set."""
    watch = ProxyWatch(EventLog(said.append), trusts_loopback=True)
    look(watch, "127.0.0.1", Host="a")
    assert [] == said
    look(watch, "127.0.0.1", **{header: "192.0.2.7"})
    assert not watch.is_on
    (event,) = said
    assert ("warning", header.lower()) == (event["level"], event["header"])
    assert "set ADMIN_TRUST_LOOPBACK to false" in event["message"]


def test_proxy_elsewhere_is_nothing_to_warn_of(said: list[Event]) -> None:
    """Its callers do not look local."""
    look(ProxyWatch(EventLog(said.append), trusts_loopback=True), "192.0.2.1", Via="1.1 proxy")
    assert [] == said


def test_request_for_an_endpoint_shows_the_proxy_too(plane: Plane) -> None:
    """Before anybody tries to administer through it."""
    for _ in range(2):
        plane.send(X_Forwarded_For="192.0.2.7")
    assert ["proxy_on_this_machine"] == [event["event"] for event in plane.said]


def test_untrusted_loopback_is_not_looked_at() -> None:
    """Nothing is at risk then, and nothing is to be said."""
    assert not ProxyWatch(EventLog(lambda event: None), trusts_loopback=False).is_on
