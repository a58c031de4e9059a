"""What the tests of HTTP connections share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.http_harness import HttpHarness, RawHttp


@pytest.fixture
def harness() -> Iterator[HttpHarness]:
    made = HttpHarness()
    yield made
    made.close()
    assert [] == made.faults


@pytest.fixture
def connect(harness: HttpHarness) -> Iterator[Callable[[], RawHttp]]:
    opened: list[RawHttp] = []

    def _connect() -> RawHttp:
        opened.append(RawHttp(harness.port))
        return opened[-1]

    yield _connect
    for client in opened:
        client.close()


@pytest.fixture
def client(connect: Callable[[], RawHttp]) -> RawHttp:
    return connect()
