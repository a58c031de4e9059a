"""The scoreboard as a program: its options, and what cannot be run."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from importlib import import_module
from typing import Any

import pytest

scoreboard: Any = import_module("scoreboard")
catalogue: Any = import_module("faults.catalogue")
server_process: Any = import_module("server_process")
ledger: Any = import_module("faults.ledger")


def parse(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """Return the options of a command line."""
    monkeypatch.setattr(sys, "argv", ["scoreboard.py", *arguments])
    return scoreboard._parse_arguments()


def test_systems_and_faults_keep_the_order_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are named on the command line."""
    options = parse(monkeypatch, "--only", "flask,ours", "--faults", "json,killed")
    assert ["ours", "flask"] == options.only
    assert ["killed", "json"] == options.faults


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--write-docs", "--only", "ours"], "writes the whole table"),
        (["--only", "ours,triton"], "unknown: triton; there are ours, mosec"),
    ],
)
def test_wrong_options_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    """A part of the table cannot replace the whole, and a misspelt name is named."""
    with pytest.raises(SystemExit):
        parse(monkeypatch, *arguments)
    assert complaint in capsys.readouterr().err


def test_peer_that_cannot_be_installed_is_not_run() -> None:
    """The last line of the installer's complaint is the reason."""

    def refuse() -> None:
        raise server_process.ServerError("mosec could not be installed\nNo matching distribution")

    mosec = dataclasses.replace(catalogue.SYSTEMS["mosec"], prepare=refuse)
    absent = scoreboard._prepare([catalogue.SYSTEMS["ours"], mosec])
    assert {"mosec": ("not run", "No matching distribution")} == {
        key: (finding.verdict.value, finding.observed) for key, finding in absent.items()
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (server_process.ServerError("it ended\nwhile starting"), "it ended while starting"),
        (ledger.LedgerError("requests without an outcome: [3]"), "without an outcome"),
    ],
)
def test_cell_that_breaks_is_not_run(error: Exception, reason: str) -> None:
    """A system that does not start, or a ledger that does not balance, gives no verdict."""

    async def break_down(system: Any) -> Any:
        raise error

    fault = dataclasses.replace(catalogue.FAULTS["killed"], run=break_down)
    finding = asyncio.run(scoreboard._cell(fault, catalogue.SYSTEMS["ours"]))
    assert "not run" == finding.verdict.value
    assert reason in finding.observed
