"""Which ports a gateway binds for itself and its servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.settings import validate
from basic_inference_server.supervision.places import Places, make_places
from basic_inference_server.supervision.sockets import StartError
from tests.support.own_network import free_port

HOST = "127.0.0.1"
Make = Callable[..., Places]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Places] = []

    def places(endpoints: dict[str, Any], port: int, first_server_port: int) -> Places:
        settings = validate({"CONFIG_ENDPOINTS": endpoints})
        made.append(make_places(settings, HOST, port, first_server_port, tmp_path))
        return made[-1]

    yield places
    for one in made:
        one.close_ports()
        one.clean_up()
        one.folder.close()


def test_ports_that_are_ours_or_chosen_are_not_given_out(make: Make) -> None:
    """Neither the gateway's, nor one that a later section of the configuration names."""
    port = free_port()
    places = make({"one": {}, "two": {"PORT": port + 2}, "three": {}}, port, port)
    ports = {name: place.port for name, place in places.servers.items()}
    assert port + 2 == ports["two"]
    assert port == places.port
    assert 4 == len({places.port, *ports.values()})


def test_port_that_is_already_ours_is_refused_by_name(make: Make) -> None:
    """Who reloads a configuration learns which endpoint has the port."""
    places = make({"one": {}}, 0, 0)
    own = places.servers["one"].port
    for port, owner in ((own, "one"), (places.port, "the gateway itself")):
        section = validate({"CONFIG_ENDPOINTS": {"new": {"PORT": port}}}).CONFIG_ENDPOINTS["new"]
        with pytest.raises(StartError) as caught:
            places.add_server("new", section)
        message = f"port {port} of new is already that of {owner}; choose another PORT"
        assert message == str(caught.value)


def test_server_that_was_moved_can_be_taken_back(make: Make) -> None:
    """With its port and its host as they are written."""
    places = make({"one": {"HOST": "localhost"}}, 0, 0)
    before, listener = places.servers["one"], places.direct_listeners["one"]
    section = validate({"CONFIG_ENDPOINTS": {"one": {"HOST": HOST}}}).CONFIG_ENDPOINTS["one"]
    left = places.move_server("one", section)
    assert before.port != places.servers["one"].port
    places.take_back("one", left)
    assert (before, listener) == (places.servers["one"], places.direct_listeners["one"])
