"""Unit tests of how many descriptors a configuration takes."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from basic_inference_server.core.descriptors import (
    descriptor_limit,
    most_connections,
    needed_descriptors,
    raise_descriptor_limit,
)


@pytest.fixture(autouse=True)
def few() -> Iterator[None]:
    """A limit of 1,000, which may be raised again."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_each_endpoint_costs() -> None:
    """Two hundred servers do not fit in the 1,024 that many systems allow."""
    assert needed_descriptors(1, 0) < needed_descriptors(1, 1) < needed_descriptors(2, 0)
    assert needed_descriptors(17, 1) < 1024 < needed_descriptors(200, 0)


@pytest.mark.parametrize(
    ("wanted", "servers", "expected"),
    [(8192, 0, 468), (8192, 200, 368), (16, 0, 16), (8192, 2000, 1)],
)
def test_connections_are_what_the_descriptors_allow(
    wanted: int, servers: int, expected: int
) -> None:
    """Each takes two, and the ports of the servers are not there for clients."""
    assert expected == most_connections(wanted, servers)


def test_limit_is_raised_as_far_as_it_goes() -> None:
    """The soft limit is a suggestion."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert 1000 == descriptor_limit()
    raised = raise_descriptor_limit()
    assert raised == descriptor_limit()
    assert 1000 < raised <= (hard if hard != resource.RLIM_INFINITY else raised)
