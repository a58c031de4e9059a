"""The gateway that the judges talk to, and how long fuzzing takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from basic_inference_server.testing import RunningGateway
from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import shared_gateway

# `make fuzz` chooses it by --hypothesis-profile; the default suite has hypothesis's own default.
settings.register_profile("long", max_examples=10_000, deadline=None, database=None)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint, `echo`, that answers what it was sent."""
    with shared_gateway(
        tmp_path_factory.mktemp("judged"), {"echo": {}}, {"echo": MIRROR.replace("Mirror", "Echo")}
    ) as running:
        yield running
