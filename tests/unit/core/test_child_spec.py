"""Unit tests of what a child is told at its start."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from typing import Any

import pytest

from basic_inference_server.core.child_spec import (
    SPEC_VARIABLE,
    GatewaySpec,
    ServerSpec,
    for_our_start,
    read_spec,
    write_spec,
)
from basic_inference_server.core.settings import process_environment

SAMPLES: dict[str, Any] = {
    "str": "é \ud800 text",
    "int": 3,
    "float": 1.5,
    "bool": True,
    "int | None": None,
    "str | None": None,
    "list[str]": ["*"],
    "dict[str, Any]": {"WEIGHT": 0.5, "LAYERS": [1, None]},
    "dict[str, int]": {"demo": 7},
    "list[dict[str, Any]]": [{"TEXT": "warm"}],
}


@pytest.mark.parametrize("kind", [ServerSpec, GatewaySpec])
def test_child_reads_what_the_supervisor_wrote(
    kind: type[ServerSpec] | type[GatewaySpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every field arrives as it was, through a file without a name."""
    spec = kind(**{field.name: SAMPLES[str(field.type)] for field in fields(kind)})
    fd = write_spec(spec)
    monkeypatch.setenv(SPEC_VARIABLE, str(fd))
    raw = read_spec()
    assert asdict(spec) == raw
    assert spec == kind(**raw)


def test_specification_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable and the descriptor are gone afterwards: a grandchild inherits neither."""
    spec = ServerSpec(**{field.name: SAMPLES[str(field.type)] for field in fields(ServerSpec)})
    fd = write_spec(spec)
    assert not os.get_inheritable(fd)
    monkeypatch.setenv(SPEC_VARIABLE, str(fd))
    read_spec()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(KeyError):
        read_spec()


def test_environment_of_our_start_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator has set is as it was, what he has not is not there."""
    operators = {"OURS_TOO": "before"}
    start = for_our_start({"OURS_TOO": "now", "ONLY_OURS": "now"}, operators)
    for name, value in start.items():
        monkeypatch.setenv(name, value)
    spec = GatewaySpec(**{field.name: SAMPLES[str(field.type)] for field in fields(GatewaySpec)})
    monkeypatch.setenv(SPEC_VARIABLE, str(write_spec(spec)))
    read_spec()
    left = process_environment()
    assert "before" == left["OURS_TOO"]
    assert not (start.keys() - {"OURS_TOO"}) & left.keys()
